"""What experiment trackers keep in stores of their own: MLflow and trackio.

MLflow writes a folder, `mlruns/EXPERIMENT/RUN/{meta.yaml,params/,metrics/,tags/}`, or a
SQLite database; trackio writes one database a project. Of a metric that was written
several times the last step counts, as in the trackers' own tables.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from archtrial.errors import RecordsError
from archtrial.records import packed
from archtrial.records.rows import Table, flat, follow, from_rows, loads

__all__ = ["is_database", "is_mlflow", "open_database", "open_mlflow", "settings"]

_STATUS = {
    "1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED",
}  # fmt: skip
"""MLflow's numbers, from its protocol of services."""
_PARENT = "mlflow.parentRunId"
MOST_VALUES = 10_000
"""Values in one file of settings; more are no run's."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # it has no types
    """Plain YAML; what is an object of Python's is read as its text."""


_Loader.add_multi_constructor(
    "", lambda loader, tag, node: str(getattr(node, "value", tag))[:200]
)


def settings(path: Path) -> dict[str, Any]:
    """Returns a run's settings from YAML or JSON, flat: "optimizer.lr" -> .1.

    W&B's `{"lr": {"desc": ..., "value": .1}}` is `{"lr": .1}`.

    Raises:
        RecordsError: The file is damaged, or holds no names with values.
    """
    try:
        text = packed.whole(path)
        read = (
            loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)  # noqa: S506 (it is a SafeLoader)
        )
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError) as error:
        said = " ".join(str(error).split())[:200] or "nested too deep"
        raise RecordsError(
            "a file of settings is whole YAML or JSON", f"{path}: {said}"
        ) from None
    if read is None:
        return {}
    if not isinstance(read, Mapping):
        raise RecordsError(
            "a file of settings has names and values", f"{path}: {str(read)[:60]!a}"
        )
    named = {
        str(name): inner["value"]
        if isinstance(inner, Mapping)
        and "value" in inner
        and set(inner) <= {"desc", "value"}
        else inner
        for name, inner in read.items()
    }
    found: dict[str, Any] = {}
    for name in flat(named, str(path)):
        found[name] = follow(name, named)
        if len(found) > MOST_VALUES:
            raise RecordsError(
                f"a file of settings has up to {MOST_VALUES:,} values",
                f"{path} has more",
            )
    return found


# --- MLflow's folder -------------------------------------------------------------


def is_mlflow(folder: Path) -> bool:
    """Says whether a folder is MLflow's, or one experiment of it."""
    return any(_runs(folder)) or any(
        any(_runs(each)) for each in sorted(folder.iterdir()) if each.is_dir()
    )


def _runs(experiment: Path) -> Iterator[Path]:
    for run in sorted(experiment.iterdir()):
        parts = (run / "metrics").is_dir() or (run / "params").is_dir()
        if parts and (run / "meta.yaml").is_file():
            yield run


def open_mlflow(folder: Path) -> Table:
    """Opens MLflow's folder, a row a run.

    Raises:
        RecordsError: It holds no run, or a file of it is damaged.
    """
    experiments = (
        [folder]
        if any(_runs(folder))
        else [
            each
            for each in sorted(folder.iterdir())
            if each.is_dir() and each.name != ".trash"
        ]
    )
    rows: list[dict[str, Any]] = []
    deleted = broken = 0
    for experiment in experiments:
        meta = experiment / "meta.yaml"
        about = settings(meta) if meta.is_file() else {}
        if about.get("lifecycle_stage") == "deleted":
            deleted += len(list(_runs(experiment)))
            continue
        for run in sorted(experiment.iterdir()):
            if not run.is_dir() or run.name in ("models", "traces", "tags"):
                continue
            if not (run / "meta.yaml").is_file():
                broken += 1
                continue
            info = settings(run / "meta.yaml")
            if info.get("lifecycle_stage") == "deleted":
                deleted += 1
                continue
            status = str(info.get("status", ""))
            rows.append(
                {
                    "run_id": run.name,
                    "status": _STATUS.get(status, status),
                    "experiment_name": str(about.get("name", experiment.name)),
                    **_texts(run / "params", "params."),
                    **_metrics(run / "metrics"),
                    **_texts(run / "tags", "tags."),
                }
            )
    return _table("MLflow's folder", str(folder), rows, deleted, broken)


def _table(
    kind: str, place: str, rows: list[dict[str, Any]], deleted: int, broken: int = 0
) -> Table:
    parents = {row.get(f"tags.{_PARENT}") for row in rows}
    leading = [row for row in rows if row["run_id"] in parents]
    rows = [row for row in rows if row["run_id"] not in parents]
    experiments = dict.fromkeys(row["experiment_name"] for row in rows)
    notes = []
    if deleted:
        notes.append(f"Deleted in MLflow, and left out: {deleted} runs.")
    if broken:
        notes.append(f"Folders without meta.yaml, left out as MLflow does: {broken}.")
    if leading:
        notes.append(f"Left out: {len(leading)} runs that only hold other runs.")
    if len(experiments) > 1:
        notes.append(
            f"{place} has {len(experiments)} experiments, read together:"
            f" {', '.join(list(experiments)[:6])}. For one alone: --where"
            " experiment_name=NAME."
        )
    kept = [
        {k: v for k, v in row.items() if not k.startswith("tags.mlflow.")}
        for row in rows
    ]
    return from_rows(kind, place, lambda: iter(kept), notes=tuple(notes))


def _texts(folder: Path, prefix: str) -> dict[str, Any]:
    return {
        prefix + name: _read(file)[:MOST_VALUES].rstrip("\r\n")
        for name, file in _files(folder)
    }


def _metrics(folder: Path) -> dict[str, Any]:
    """Returns of each metric the value at its last step, as MLflow's table has it."""
    found: dict[str, Any] = {}
    for name, file in _files(folder):
        best: tuple[int, int, float] | None = None
        for number, line in enumerate(_read(file).splitlines(), 1):
            parts = line.split()
            if not parts:
                continue
            try:
                stamp, value = int(parts[0]), float(parts[1])
                point = (int(parts[2]) if len(parts) > 2 else 0, stamp, value)
            except (ValueError, IndexError):
                raise RecordsError(
                    "a metric of MLflow's is a time, a value and a step a line",
                    f"{file}, line {number}: {line[:60]!a}",
                    "The file may be damaged.",
                ) from None
            if best is None or point[:2] >= best[:2]:
                best = point
        if best is not None:
            found["metrics." + name] = best[2]
    return found


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields files with their names, which are paths: "val/acc"."""
    if folder.is_dir():
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                yield file.relative_to(folder).as_posix(), file


def _read(path: Path) -> str:
    try:
        return packed.whole(path)
    except UnicodeError as error:
        raise RecordsError("MLflow's files are UTF-8", f"{path}: {error}") from None


# --- databases -------------------------------------------------------------------


def is_database(path: Path) -> bool:
    """Says whether a file is SQLite's, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def open_database(path: Path) -> Table | None:
    """Opens MLflow's or trackio's database; None if it is Optuna's.

    Raises:
        RecordsError: It is damaged, or somebody else's.
    """
    try:
        with _connected(path) as base:
            tables = {
                name: [row[1] for row in base.execute(f'PRAGMA table_info("{name}")')]
                for (name,) in base.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                    " AND name NOT LIKE '%\"%'"
                )
            }
            if {"trials", "studies"} <= set(tables):
                return None
            if "run_uuid" in tables.get("latest_metrics", ()):
                return _mlflow_database(path, base)
            if {"run_name", "step", "metrics"} <= set(tables.get("metrics", ())):
                return _trackio(path, base, tables)
    except (sqlite3.Error, UnicodeError, ValueError, OverflowError, TypeError) as error:
        raise RecordsError(
            "a database of runs is whole", f"{path}: {str(error)[:200]}"
        ) from None
    raise RecordsError(
        "a database of runs is MLflow's, trackio's or Optuna's",
        f"{path} has the tables {', '.join(list(tables)[:8]) or '(none)'}",
        "Export the runs as CSV.",
    )


def _connected(path: Path) -> Any:
    # Immutable: whoever judges writes nothing, no journal either.
    quoted = path.resolve().as_uri()
    base = sqlite3.connect(f"{quoted}?mode=ro&immutable=1", uri=True)
    return contextlib.closing(base)


def _mlflow_database(path: Path, base: sqlite3.Connection) -> Table:
    names = {
        number: name
        for number, name, stage in base.execute(
            "SELECT experiment_id, name, lifecycle_stage FROM experiments"
        )
        if stage != "deleted"
    }
    rows: dict[str, dict[str, Any]] = {}
    deleted = 0
    for run, status, stage, experiment in base.execute(
        "SELECT run_uuid, status, lifecycle_stage, experiment_id FROM runs ORDER BY"
        " rowid"
    ):
        if stage == "deleted" or experiment not in names:
            deleted += 1
        else:
            rows[run] = {
                "run_id": run, "status": status,
                "experiment_name": str(names[experiment]),
            }  # fmt: skip
    for prefix, query in (
        ("params.", "SELECT run_uuid, key, value FROM params"),
        (
            "metrics.",
            "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END"
            " FROM latest_metrics",
        ),
        ("tags.", "SELECT run_uuid, key, value FROM tags"),
    ):
        for run, key, value in base.execute(query):
            if run in rows:
                rows[run][f"{prefix}{key}"] = value
    return _table("MLflow's database", str(path), list(rows.values()), deleted)


def _trackio(
    path: Path, base: sqlite3.Connection, tables: Mapping[str, list[str]]
) -> Table:
    key = "run_id" if "run_id" in tables["metrics"] else "run_name"
    project = "project_name" if "project_name" in tables["metrics"] else "''"
    said: dict[Any, dict[str, Any]] = {}
    if {"config", key} <= set(tables.get("configs", ())):
        for run, config in base.execute(f"SELECT {key}, config FROM configs"):  # noqa: S608
            read = _json(config)
            said[run] = {
                f"config.{name}": follow(name, read)
                for name in flat(read, str(path))
                if not name.startswith("_")  # trackio's own: user, group, created
            }
    rows = []
    for run, name, group, step, metrics in base.execute(
        f"SELECT {key}, run_name, {project}, step, metrics FROM metrics ORDER BY id"  # noqa: S608
    ):
        rows.append(
            {
                "run_id" if key == "run_id" else "run": run if run is not None else name,
                "project_name": group, "step": step, **said.get(run, {}),
                **_json(metrics),
            }
        )  # fmt: skip
    return from_rows("trackio's database", str(path), lambda: iter(rows))


def _json(text: str | bytes) -> dict[str, Any]:
    read = loads(text.decode() if isinstance(text, bytes) else text)
    if not isinstance(read, dict):
        raise ValueError(f"{str(read)[:60]!a} is no JSON object")
    return read
