"""What a study's folder names is data: whether its code may run unasked.

A folder may come from anybody, and the records in it name files, modules and
commands. Run without a question is what the zoo has, and a file of the user's own
that still is, letter by letter, what the study kept of it. All else is shown and
refused until somebody says that it is trusted. Nothing here runs or imports it.
"""

import ast
import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archtrial.zoo.estimators import is_estimator
from archtrial.zoo.outside import is_outside
from archtrial.zoo.userfile import find_module, is_library, is_unchanged

__all__ = ["objection", "objection_to_loss", "shown"]


def objection(spec: str, source: str | None, folder: Path) -> str | None:
    """Says why an arm that a folder names is not run unasked; None if it may be.

    Args:
        spec: The architecture that the folder names.
        source: The text that the folder keeps of it.
        folder: The study's.
    """
    if is_estimator(spec):
        return None  # of scikit-learn, which is asked for a classifier or a regressor
    if is_outside(spec):
        # Of timm or torchvision, by a name that they know; weights are read as tensors.
        return _objection_to_package(spec.partition(":")[0], folder)
    return objection_to_loss(spec, source, folder)


def objection_to_loss(spec: str, source: str | None, folder: Path) -> str | None:
    """Says why a loss that a folder names is not run unasked; None if it may be.

    Args:
        spec: The function that the folder names.
        source: The text that the folder keeps of it.
        folder: The study's.
    """
    place, colon, member = spec.rpartition(":")
    if not colon:
        return None  # the zoo has it, or nobody
    if place.endswith(".py"):
        path = Path(place).expanduser()
    else:
        found = find_module(place)
        if found is None:
            return "it is installed code, or none of yours"
        path = found[0]
    try:
        true, inside = path.resolve(), folder.resolve()
        if true.is_relative_to(inside) or path.absolute().is_relative_to(inside):
            return "the file came with the folder"
        if is_library(str(true)):
            return "it is installed code"
        if source is None:
            return "the folder keeps no source to compare it with"
        if not is_unchanged(true, source):
            return "the file is not what the study kept of it"
        if member not in _defined(true):
            return f"the file itself does not define {member}"
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
        return "it cannot be read"
    return None


def _objection_to_package(package: str, folder: Path) -> str | None:
    """Says why a package is not imported unasked: it may have come with the folder."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            place, inside = Path(found.origin).resolve(), folder.resolve()
            if place.is_relative_to(inside):
                return "the package came with the folder"
    return None


def _defined(path: Path) -> set[str]:
    """Returns the classes and functions that a file itself has, without running it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def shown(spec: str, options: Mapping[str, Any]) -> str:
    """Returns code as a message shows it before it runs."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"{spec}({given})" if given else spec
