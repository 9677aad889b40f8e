"""The house itself: who imports whom, what is light, what the docstrings show."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import archtrial

ROOT = Path(archtrial.__file__).parent
# In the order of ARCHITECTURE.md: a room imports only from rooms above it.
ROOMS = [
    "importing", "errors", "randomness", "files", "space", "specs", "metrics", "protocol", "records", "freezing", "progress",
    "statistics", "words", "report", "searches", "calibration", "findings", "judge",
    "data", "zoo", "equivalents", "training", "execution",
    "trainers", "probes", "workflow", "trial", "tuned", "study", "pilot", "console", "experiments", "cli",
    "testing",
]  # fmt: skip
LAST_WITHOUT_TORCH = "judge"
# What of an experiment makes numbers, words and pages of records, as the rooms above do.
LIGHT = {
    "choose": ("protocol", "words", "page", "verdict"),
    "mimic": ("protocol", "words", "page", "verdict"),
    "profile": (
        *("protocol", "groups", "page", "verdict", "lines"),
        *("cost", "trainability", "generalisation", "representation"),
    ),
    "mpl": ("protocol", "words", "page", "verdict"),
    "scale": ("protocol", "words", "page", "verdict"),
    "relax": ("statistics", "words", "titles", "figures", "page", "verdict"),
}
HEAVY = ("torch", "optuna", "plotly")
# Who may import Optuna, inside a function alone: it is slow, and not everybody's.
OPTUNA = {"records/optuna_studies.py", "probes.py"}


def rooms():
    return sorted(
        path.stem if path.is_file() else path.name
        for path in ROOT.iterdir()
        if (path.suffix == ".py" and path.stem not in ("__init__", "__main__"))
        or (path / "__init__.py").exists()
    )


def imports(room):
    """Yields every module that the room's files import, also inside functions."""
    place = ROOT / room
    yield from imported(
        [place.with_suffix(".py")] if not place.is_dir() else place.rglob("*.py")
    )


def imported(paths):
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_its_place():
    assert sorted(ROOMS) == rooms()
    described = (ROOT.parents[1] / "ARCHITECTURE.md").exists()
    if described:
        text = (ROOT.parents[1] / "ARCHITECTURE.md").read_text()
        places = [
            re.search(rf"^\| `{room}(\.py|/)`", text, re.MULTILINE) for room in ROOMS
        ]
        assert all(places), [r for r, p in zip(ROOMS, places, strict=True) if not p]
        assert [p.start() for p in places] == sorted(p.start() for p in places)


def test_every_file_that_the_architecture_names_is_there():
    place = ROOT.parents[1] / "ARCHITECTURE.md"
    if not place.exists():
        pytest.skip("the package was installed without its documents")
    named = set(re.findall(r"`([\w/]+\.py)`", place.read_text()))
    there = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")}
    there |= {path.rpartition("/")[2] for path in there}
    there |= {
        path.relative_to(ROOT.parents[1]).as_posix()
        for path in (ROOT.parents[1] / "examples").rglob("*.py")
    }
    assert named - there == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_above_it(room):
    above = ROOMS[: ROOMS.index(room)]
    for name in imports(room):
        package, _, rest = name.partition(".")
        if package == "archtrial" and rest:
            other = rest.split(".")[0]
            assert other == room or other in above or other not in ROOMS, name
        if ROOMS.index(room) <= ROOMS.index(LAST_WITHOUT_TORCH):
            assert package not in HEAVY or package == "optuna", name


@pytest.mark.parametrize("experiment", sorted(LIGHT))
def test_what_judges_an_experiment_needs_no_training(experiment):
    """File by file: the others of its folder train, and import torch."""
    above = ROOMS[: ROOMS.index(LAST_WITHOUT_TORCH) + 1]
    home = f"archtrial.experiments.{experiment}"
    for file in LIGHT[experiment]:
        for name in imported([ROOT / "experiments" / experiment / f"{file}.py"]):
            package, _, rest = name.partition(".")
            assert package not in HEAVY, (file, name)
            if name.startswith(f"{home}."):
                assert name.removeprefix(f"{home}.").split(".")[0] in LIGHT[experiment]
            elif package == "archtrial" and rest and name != home:
                assert rest.split(".")[0] in above, (file, name)


def test_optuna_is_imported_by_two_files_and_only_when_it_is_needed():
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "optuna" for name in names):
                assert path.relative_to(ROOT).as_posix() in OPTUNA, path
                assert node not in tree.body, path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["judge", "--help"], ["judge", "nope.csv"]]
)
def test_what_needs_no_training_never_loads_torch(arguments):
    code = (
        "import sys; from archtrial import cli; sys.argv = ['archtrial', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True
    )
    assert done.stderr.strip().endswith("LOADED []"), done.stderr


def test_the_page_of_an_experiment_never_loads_torch(tmp_path):
    """Years later, from the records alone."""
    from archtrial.experiments.relax import Protocol
    from archtrial.experiments.relax.study import Study

    protocol = Protocol(
        data="digits", architecture="cnn(width=2, depth=2)", steps=1, relax_times=(0,),
        seeds=2, learning_rates=(0.1,), tuning_seeds=1, curvature_examples=0,
    )  # fmt: skip
    Study(protocol, tmp_path).run()
    code = (
        "import sys; from archtrial import cli; sys.argv = ['archtrial', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print('ENDED', ended.code, file=sys.stderr)\n"
        f"print('LOADED', [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", tmp_path], capture_output=True, text=True
    )
    assert done.stderr.split() == ["ENDED", "0", "LOADED", "[]"], done.stderr
    assert (tmp_path / "report.html").exists()


# As slow to import as torch, all together, and needed for tables, pages and tests alone.
LATER = ("torch", "matplotlib", "pandas", "scipy.stats", "scipy.optimize", "optuna")


@pytest.mark.parametrize(
    "code",
    [
        "import archtrial.judge",
        "from archtrial import judge_study, judge_sources",
        "import archtrial.statistics",
        "from archtrial import cli; sys.argv = ['archtrial', '--help']; cli.main()",
    ],
)
def test_a_judge_imports_only_what_every_verdict_needs(code):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import atexit, sys\n"
            f"atexit.register(lambda: print([m for m in {LATER} if m in sys.modules]))\n"
            f"{code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_loads_next_to_nothing():
    code = (
        "import sys; from archtrial import cli\n"
        "print(*[m for m in ('numpy', 'scipy', 'pandas', 'matplotlib', 'pydantic')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == ""


def modules():
    return [
        found.name
        for found in pkgutil.walk_packages([str(ROOT)], "archtrial.")
        if not found.name.endswith("__main__")
    ]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    assert module.__doc__, "a module says what it hides"
    assert doctest.testmod(module).failed == 0


def test_public_names_are_found_lazily():
    for name in archtrial.__all__:
        assert getattr(archtrial, name) is not None
    assert set(archtrial.__all__) <= set(dir(archtrial))
    with pytest.raises(AttributeError, match="nope"):
        _ = archtrial.nope


def test_global_random_state_is_nobodys():
    forbidden = re.compile(r"np\.random\.(seed|rand|randn|permutation|shuffle)\b")
    for path in ROOT.rglob("*.py"):
        assert not forbidden.search(path.read_text()), path
