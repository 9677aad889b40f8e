"""Names of a package that are imported when they are first used, so that it is cheap."""

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, **modules: tuple[str, ...]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package (PEP 562).

    >>> found = lazily("archtrial", space=("Real", "Integer"), errors=("UserError",))
    >>> found("Integer").__name__
    'Integer'

    Args:
        package: Its `__name__`.
        **modules: By module of the package, the names that are found there.
    """
    places = {name: module for module, names in modules.items() for name in names}

    def found(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return found
