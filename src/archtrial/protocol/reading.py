"""The file that declares a protocol: TOML, whose paths start at its folder."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from archtrial import specs
from archtrial.errors import ProtocolError

__all__ = ["loader", "read"]

Declared = TypeVar("Declared")


def loader(kind: Callable[..., Declared], of: str) -> Callable[..., Declared]:
    """Returns the function that reads an experiment's protocol from a TOML file.

    It takes the path, and as keywords those fields that take the place of the file's; it
    raises a ProtocolError where the file is not there, is no TOML, or cannot be carried
    out.

    Args:
        kind: The protocol.
        of: What the file declares, in a message to whoever hands it a trial's.
    """

    def load(path: str | Path, **changes: Any) -> Declared:
        return kind(**{**read(Path(path), of), **changes})

    return load


def read(path: Path, of: str | None = None) -> dict[str, Any]:
    """Returns what a TOML file declares; its paths start at its folder.

    Args:
        path: The file.
        of: What the file of an experiment declares, in a message to whoever hands it a
            trial's; None where it is a trial's.

    Raises:
        ProtocolError: The file is not there, is no TOML, or declares a trial in place of
            an experiment.
    """
    declared = _anchor(_read_toml(path), path.parent)
    if of is not None and {"baseline", "challenger", "challengers"} & declared.keys():
        raise ProtocolError(
            f"the file declares {of}",
            f"{path} compares a baseline with challengers",
            f"Run it: archtrial run {path}",
        )
    return declared


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProtocolError(
            "there is no such protocol file",
            str(path),
            "archtrial init writes one to start from.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path} cannot be read as text", str(error)) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            raise _not_toml(path, error) from None
        raise ProtocolError(
            f"{path} cannot be read as TOML",
            str(error)[:200],
            "Numbers have 300 digits at most, and nothing is nested 100 deep.",
        ) from None


def _not_toml(path: Path, error: tomllib.TOMLDecodeError) -> ProtocolError:
    return ProtocolError(
        f"{path} is not complete TOML",
        str(error)[:200],
        "Correct that line; archtrial init writes a whole protocol to compare with.",
    )


def _anchor(declared: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes the paths inside a protocol file independent of the working folder."""

    def anchored(architecture: Any) -> Any:
        if not isinstance(architecture, str):
            return architecture
        name, spec, options = specs.parse_spec(architecture)
        file, colon, member = spec.rpartition(":")
        if not (colon and file.endswith(".py")):
            return architecture
        return specs.write_spec(name, f"{folder / file}:{member}", options)

    def with_loss(recipe: Any) -> Any:
        if not isinstance(recipe, Mapping) or not isinstance(recipe.get("loss"), str):
            return recipe
        file, colon, member = recipe["loss"].rpartition(":")
        if not file.endswith(".py"):
            return recipe
        return {**recipe, "loss": f"{folder / file}{colon}{member}"}

    def arm(value: Any) -> Any:
        if isinstance(value, Mapping) and "architecture" in value:
            value = {**value, "architecture": anchored(value["architecture"])}
            if "recipe" in value:
                value["recipe"] = with_loss(value["recipe"])
            return value
        return anchored(value)

    if "recipe" in declared:
        declared["recipe"] = with_loss(declared["recipe"])
    for key in ("data", "unlabelled"):
        place = declared.get(key)
        if isinstance(place, str) and (folder / place).exists():
            declared[key] = str(folder / place)
    lists = (
        *("baseline", "architecture", "architectures", "challengers", "teacher"),
        *("students", "arms"),
    )
    for key in lists:
        if isinstance(value := declared.get(key), list):
            declared[key] = [arm(each) for each in value]
        elif value is not None:
            declared[key] = arm(value)
    factors = declared.get("factors")
    if isinstance(factors, dict) and isinstance(
        levels := factors.get("architecture"), list
    ):
        factors["architecture"] = [anchored(level) for level in levels]
    return declared
