"""What architectures cost, read off the records."""

from collections.abc import Mapping, Sequence
from typing import Any

from archtrial.experiments.profile.groups import Group
from archtrial.report.article import Column, Exhibit, Section, Table
from archtrial.words import numbers

__all__ = ["Cost"]


class Cost(Group):
    """Parameters, FLOPs, memory and time."""

    title = "What do they cost?"

    def numbers(self) -> dict[str, Any]:
        """Returns what was counted of each architecture."""
        profiled = self.profiled
        return {
            "architectures": [
                {"name": name, **profiled.measured("cost", name)}
                for name in profiled.names
            ]
        }

    def sentence(self, found: Mapping[str, Any]) -> str:
        """Returns which architecture is the cheapest."""
        least = min(found["architectures"], key=lambda entry: entry["step_flops"])
        flops = numbers.flops(least["step_flops"])
        return f"A training step is cheapest with {least['name']} ({flops})."

    def columns(self, found: Mapping[str, Any]) -> Sequence[Column]:
        """Returns its parameters and FLOPs."""
        each = found["architectures"]
        return [
            Column("parameters", [f"{entry['parameters']:,}" for entry in each]),
            Column("FLOPs", [numbers.flops(entry["step_flops"]) for entry in each]),
        ]

    def sections(self, found: Mapping[str, Any]) -> Sequence[Section]:
        """Returns the table of costs."""
        columns = {"architecture": self.profiled.names}
        columns |= {c.heading: list(c.cells) for c in self.columns(found)}
        table = Exhibit("Counted, for a batch of training", Table.of(columns))
        return [Section(self.title, tables=[table])]
