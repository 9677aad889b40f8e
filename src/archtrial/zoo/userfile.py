"""A user's file, loaded apart from everything else that is loaded.

Two arms may be two versions of one file, each beside its own `blocks.py`. So a
file becomes a module of a unique name, and the modules beside it that it imports
are its own: while its code runs, its folder comes first on the import path, and
afterwards the path and the table of modules are as they were. The modules beside
it are put back in place whenever it builds a module. (An import inside `forward`
comes too late; the trial before a study says so.)
"""

import contextlib
import dataclasses
import hashlib
import sys
import sysconfig
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

__all__ = ["UserFile", "is_library", "line_of", "prints_to_errors"]


@dataclasses.dataclass
class UserFile:
    """A user's file after it has run.

    Attributes:
        path: The file, absolute.
        module: What running it defined.
        source: Its text, and those of the modules beside it that it imported while
            it ran.
        beside: Those modules, by name.
    """

    path: Path
    module: types.ModuleType
    source: str
    beside: dict[str, types.ModuleType]

    @classmethod
    def load(cls, path: Path) -> "UserFile":
        """Runs a file afresh, whatever was loaded from it before.

        Raises:
            OSError: It cannot be read.
            Exception: Whatever its code raises, a SyntaxError among them.
        """
        path = path.resolve()
        text = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(f"{path}\n{text}".encode()).hexdigest()
        module = types.ModuleType(f"archtrial_user_{path.stem}_{digest[:16]}")
        module.__file__ = str(path)
        file = cls(path, module, text, beside={})
        # Dataclasses and pickle look a class's module up by its name.
        sys.modules[module.__name__] = module
        try:
            with file.importing():
                exec(compile(text, path, "exec"), module.__dict__)  # noqa: S102 - to run the user's file is the purpose
        except BaseException:
            del sys.modules[module.__name__]
            raise
        for name in sorted(file.beside):
            origin = getattr(file.beside[name], "__file__", None)
            if origin is not None and origin.endswith(".py"):
                sibling = Path(origin).read_text(encoding="utf-8")
                file.source += f"\n# ---- imported from beside it: {name}\n{sibling}"
        return file

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Lets code of the file import what lies beside it, for as long as it runs."""
        folder = self.path.parent
        names = {path.stem for path in folder.glob("*.py")}
        names |= {path.parent.name for path in folder.glob("*/__init__.py")}
        names -= sys.stdlib_module_names
        # A module of the same name from elsewhere steps aside meanwhile, as it
        # would have no chance if the file were run as a script.
        aside = {
            name: sys.modules.pop(name)
            for name, module in sys.modules.copy().items()
            if name.partition(".")[0] in names
            and not (_lies_in(folder, module) and is_library(module.__file__))
        }
        sys.modules.update(self.beside)
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            # The first of its kind is ours; the user's code may have added others.
            with contextlib.suppress(ValueError):
                sys.path.remove(str(folder))
            for name, module in sys.modules.copy().items():
                if (
                    name.partition(".")[0] in names
                    and _lies_in(folder, module)
                    and not is_library(module.__file__)
                ):
                    self.beside[name] = sys.modules.pop(name)
            sys.modules.update(aside)


def _lies_in(folder: Path, module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(folder)


_LIBRARIES = tuple(
    Path(folder).resolve()
    for folder in (
        *(sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib")),
        str(Path(torch.__file__).parent),
        str(Path(__file__).parent.parent),
    )
)


def is_library(file: str | None) -> bool:
    """Returns whether code is Python's own, installed, or archtrial's."""
    if file is None or file.startswith("<frozen"):
        return True
    # Anything else in pointed brackets is a notebook's cell or a console's line.
    return any(Path(file).is_relative_to(folder) for folder in _LIBRARIES)


def line_of(frames: Iterable[traceback.FrameSummary]) -> str | None:
    """Returns the user's line that the last of some frames ran: "file, line 3"."""
    own = [frame for frame in frames if not is_library(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None


@contextlib.contextmanager
def prints_to_errors() -> Iterator[None]:
    """Sends to standard error what users' code prints: standard output is our answer's."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
