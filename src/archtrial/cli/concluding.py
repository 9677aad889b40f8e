"""What is said when a verdict has been reached."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from archtrial.console import output
from archtrial.errors import ProtocolError

if TYPE_CHECKING:
    from archtrial.judge import Judgement

__all__ = ["check_price", "conclude", "priced"]


def check_price(price: float | None) -> None:
    """Raises ProtocolError where a price is none."""
    if price is not None and not 0 < price < float("inf"):
        raise ProtocolError("a price an hour is more than 0", f"{price:g}")


def priced(judgement: "Judgement", price: float | None) -> "Judgement":
    """Returns a judgement whose page and table also speak of money."""
    check_price(price)
    evidence = dataclasses.replace(judgement.evidence, price_per_hour=price)
    return dataclasses.replace(judgement, evidence=evidence)


def conclude(judgement: "Judgement", page: Path | None, as_json: bool) -> None:
    """Prints the verdict: the sentence, a table of arms, the page, what is next."""
    if as_json:
        output.show_json(judgement.verdict.to_json())
        return
    from archtrial.report import terminal

    console = output.console()
    terminal.show(judgement.evidence, console)
    if page is not None:
        console.print(f"page: {page}", soft_wrap=True, markup=False)
