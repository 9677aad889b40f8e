"""A user's file, loaded apart from everything else that is loaded.

Two arms may be two versions of one file, each beside its own `blocks.py`. So a
file becomes a module of a unique name, and the modules beside it that it imports
are its own: while its code runs, its folder comes first on the import path, and
afterwards the path and the table of modules are as they were. The modules beside
it are put back in place whenever it builds a module. (An import inside `forward`
comes too late; the trial before a study says so.)

A file that lies beside an `__init__.py`, or that imports relatively, is a member of
its package and keeps its name there; what the package has is as much its own.
"""

import ast
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.machinery
import sys
import sysconfig
import traceback
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

__all__ = [
    "UserFile",
    "find_module",
    "is_library",
    "is_unchanged",
    "line_of",
    "prints_to_errors",
]

_BESIDE = "\n# ---- imported from beside it: "
# What our own process runs on is never taken for a file of the user's.
_OURS = frozenset({"archtrial", "numpy", "scipy", "sklearn", "torch"})


@dataclasses.dataclass
class UserFile:
    """A user's file after it has run.

    Attributes:
        path: The file, absolute.
        root: The folder that its imports start at: its own, or the one that holds
            its package.
        module: What running it defined.
        source: Its text, and those of the modules beside it that it imported while
            it ran.
        beside: Those modules, by name.
    """

    path: Path
    root: Path
    module: types.ModuleType
    source: str
    beside: dict[str, types.ModuleType]

    @classmethod
    def load(cls, path: Path, root: Path | None = None) -> "UserFile":
        """Runs a file afresh, whatever was loaded from it before.

        Args:
            path: The file.
            root: Where its imports start, if that is known.

        Raises:
            OSError: It cannot be read.
            Exception: Whatever its code raises, a SyntaxError among them.
        """
        path = path.resolve()
        text = path.read_text(encoding="utf-8")
        root = _root(path, text) if root is None else root.resolve()
        digest = hashlib.sha256(f"{path}\n{text}".encode()).hexdigest()
        module = types.ModuleType(f"archtrial_user_{path.stem}_{digest[:16]}")
        module.__file__ = str(path)
        file = cls(path, root, module, text, beside={})
        if root == path.parent:
            file._run(text)
        else:
            with file.importing():
                file.module = importlib.import_module(_dotted(path, root))
        for name in sorted(file.beside):
            origin = getattr(file.beside[name], "__file__", None)
            if name == file.module.__name__ or not (origin or "").endswith(".py"):
                continue
            sibling = Path(origin or "").read_text(encoding="utf-8")
            file.source += f"{_BESIDE}{name}\n{sibling}"
        return file

    def _run(self, text: str) -> None:
        # Dataclasses and pickle look a class's module up by its name.
        sys.modules[self.module.__name__] = self.module
        try:
            with self.importing():
                exec(compile(text, self.path, "exec"), self.module.__dict__)  # noqa: S102 - to run the user's file is the purpose
        except BaseException:
            del sys.modules[self.module.__name__]
            raise

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Lets code of the file import what lies beside it, for as long as it runs."""
        here = Path.cwd()
        folders = list(dict.fromkeys([self.path.parent, self.root, here]))
        own = [_importable(folder) for folder in folders]
        names = set().union(*own)
        if self.root != self.path.parent:
            names.add(_dotted(self.path, self.root).partition(".")[0])
        # A module of the same name from elsewhere steps aside meanwhile, as it
        # would have no chance if the file were run as a script.
        aside = {
            name: sys.modules.pop(name)
            for name, module in sys.modules.copy().items()
            if name.partition(".")[0] in names
            and not (_lies_in(folders, module) and is_library(_file_of(module)))
        }
        before = set(sys.modules)
        sys.modules.update(self.beside)
        # A package's member may be called like one of Python's own modules, which
        # others still import: beside it is found only what has another name.
        finder = _Beside(self.path.parent, own[0])
        sys.meta_path.insert(0, finder)
        paths = [str(self.root), str(here)]
        sys.path[:0] = paths
        compiled, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.dont_write_bytecode = compiled
            sys.meta_path.remove(finder)
            for path in paths:
                # The first of its kind is ours; the user's code may have added others.
                with contextlib.suppress(ValueError):
                    sys.path.remove(path)
            for name, module in sys.modules.copy().items():
                if (
                    (name.partition(".")[0] in names or name not in before)
                    and (_lies_in(folders, module) or name in self.beside)
                    and not is_library(_file_of(module))
                ):
                    self.beside[name] = sys.modules.pop(name)
            sys.modules.update(aside)


class _Beside:
    """Finds what lies in one folder before anything else of the same name."""

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        self._folder, self._names = str(folder), names

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None and name in self._names:
            return importlib.machinery.PathFinder.find_spec(name, [self._folder])
        return None


def _importable(folder: Path) -> frozenset[str]:
    names = {path.stem for path in folder.glob("*.py")}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}
    return frozenset(names - sys.stdlib_module_names - _OURS)


def _root(path: Path, text: str) -> Path:
    """Returns the folder that a file's imports start at."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    if folder == path.parent:
        # A package needs no __init__.py: relative imports say how deep it is.
        levels = [
            node.level
            for node in ast.walk(ast.parse(text, str(path)))
            if isinstance(node, ast.ImportFrom)
        ]
        depth = min(max(levels, default=0), len(path.parents) - 1)
        folder = path.parents[depth]
    return folder


def _dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_module(name: str) -> tuple[Path, Path] | None:
    """Returns the file of a module of the user's and where its imports start.

    Nothing is run. The user's are those below the current folder or its `src`.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for root in (Path.cwd(), Path.cwd() / "src"):
        inside = root.joinpath(*parts)
        for path in (inside.with_name(f"{inside.name}.py"), inside / "__init__.py"):
            if path.is_file():
                return path.resolve(), root.resolve()
    return None


def is_unchanged(path: Path, source: str) -> bool:
    """Returns whether a file and those beside it still are what a study kept.

    Args:
        path: The file; it is not run.
        source: What `UserFile.source` was.
    """
    try:
        text, *others = source.split(_BESIDE)
        if path.read_text(encoding="utf-8") != text:
            return False
        folders = (path.resolve().parent, _root(path.resolve(), text))
        for other in others:
            name, _, kept = other.partition("\n")
            inside = name.replace(".", "/")
            found = [
                place
                for folder in folders
                for place in (folder / f"{inside}.py", folder / inside / "__init__.py")
                if place.is_file()
            ]
            if not found or found[0].read_text(encoding="utf-8") != kept:
                return False
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def _file_of(module: types.ModuleType) -> str | None:
    """Returns a module's file; of a package without __init__.py its folder."""
    file = getattr(module, "__file__", None)
    if file is None:
        file = next(iter(getattr(module, "__path__", ())), None)
    return file if isinstance(file, str) else None


def _lies_in(folders: Sequence[Path], module: types.ModuleType) -> bool:
    file = _file_of(module)
    if file is None:
        return False
    place = Path(file).resolve()
    return any(place.is_relative_to(folder) for folder in folders)


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
