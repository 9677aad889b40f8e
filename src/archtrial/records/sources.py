"""From a place to a table of runs: a file, a folder, a tracker's store, a study.

A folder is read as people leave it. A run is a folder with its settings beside its
scores (Lightning, Ray Tune, W&B offline, Hydra, TensorBoard), or a file of a folder of
JSON or CSV files. Of any other folder it is said what lies in it.
"""

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from archtrial.errors import RecordsError
from archtrial.records import tensorboard_events, trackers
from archtrial.records.formats import ENDINGS, open_file
from archtrial.records.optuna_studies import is_study, open_study
from archtrial.records.rows import Table, from_rows

__all__ = ["open_source"]

_SETTINGS = (
    "hparams.yaml", "hparams.json", "params.json", "config.yaml", "config.yml",
    "config.json", "args.json", "args.yaml", "hyperparameters.json",
    "hyperparameters.yaml", "params.yaml", "settings.json", ".hydra/config.yaml",
)  # fmt: skip
"""Names of a run's settings; the first that is there counts."""
_ASIDE = {
    "wandb-metadata.json", "package.json", "requirements.txt", "overrides.yaml",
    "basic-variant-state", "experiment_state", "output.log", "readme.txt",
    "searcher-state", "search_gen_state", "diff.patch", "conda-environment.yaml", "error.txt",
    "wandb-events.jsonl", "tuner.pkl", "notes.txt", "log.txt", "env.txt",
}  # fmt: skip
"""Files, or beginnings of their names, that hold no scores."""
_TWICE = (("result.json", "progress.csv"),)
"""Ray Tune writes both with the same contents: the first counts."""
MOST_FILES = 100_000
"""In one folder."""


def open_source(place: str) -> Table:
    """Opens whatever lies at a place.

    Raises:
        RecordsError: Nothing there can be read, with what lies there.
    """
    return _as_exported(_open(place))


def _open(place: str) -> Table:
    _check_name(place)
    file, mark, study = place.rpartition("#")
    try:
        if (
            mark
            and "://" not in place
            and Path(file).is_file()
            and trackers.is_database(Path(file))
        ):
            return open_study(f"sqlite:///{file}#{study}")
        path = Path(place)
        if path.is_dir():
            return _open_folder(path)
        if is_study(place):
            return open_study(place)
        if path.is_file() and trackers.is_database(path):
            return trackers.open_database(path) or open_study(f"sqlite:///{place}")
        return open_file(path)
    except (OSError, ValueError) as error:
        # A name that no file can have, a folder that may not be read.
        raise RecordsError(
            "runs lie where they can be read", f"{place!a}: {error}"
        ) from None


def _as_exported(table: Table) -> Table:
    """Adds what the table that a tuner exports does not say: who chose its trials."""
    names = table.columns
    if {"number", "value", "state"} <= {name.lower() for name in names} and any(
        name.startswith("params_") for name in names
    ):
        # What Optuna's `trials_dataframe` leaves out.
        table = dataclasses.replace(
            table,
            kind=f"{table.kind}, Optuna's trials",
            not_random=table.not_random
            or f"{table.place} is a table of Optuna's, which does not say which sampler"
            " chose",
        )
    if "trial_id" in names and any(name.startswith("config/") for name in names):
        table = dataclasses.replace(
            table,
            kind=f"{table.kind}, Ray Tune's trials",
            not_random=f"{table.place} is a table of Ray Tune's, which does not say"
            " which searcher chose",
        )
    return table


def _check_name(place: str) -> None:
    """Refuses a name that is not UTF-8, which readers of tables cannot write down."""
    try:
        place.encode()
    except UnicodeError:
        raise RecordsError(
            "a file's name is UTF-8", ascii(place), "Rename it."
        ) from None


# --- folders ---------------------------------------------------------------------


def _open_folder(folder: Path) -> Table:
    for mlflow in (folder, folder / "mlruns"):
        if mlflow.is_dir() and trackers.is_mlflow(mlflow):
            _check_alone(folder, mlflow)
            return trackers.open_mlflow(mlflow)
    files = _files(folder)
    bases = [
        f for f in files if f.suffix in (".db", ".sqlite") and trackers.is_database(f)
    ]
    if len(bases) == 1:
        return _open(str(bases[0]))
    if bases:
        raise RecordsError(
            "a source is one table of runs",
            f"{folder} has {', '.join(f.name for f in bases[:6])}",
            f"Give one: {bases[0]}.",
        )
    scored = _scored(files)
    if not scored:
        raise RecordsError(
            "a folder holds runs: files of JSON or CSV, MLflow's mlruns, Lightning's or"
            " Ray Tune's folders, TensorBoard's events",
            f"{folder} has {_contents(folder, files)}",
            "Give the file that has a row for each run.",
        )
    cut: list[str] = []
    settled = {
        place: _settings(place) for place in dict.fromkeys(f.parent for f in scored)
    }
    of_events = any(_is_events(f) for f in scored)
    read = _Reader(folder, scored, settled, cut)
    table = from_rows(
        f"folder of {'TensorBoard events' if of_events else _kind(scored)}",
        str(folder),
        read.rows,
    )
    notes = [
        f"{folder}: {len(scored)} files are read; a run is "
        + (
            "a folder."
            if any(settled.values()) or of_events
            else "a file, where no column says otherwise."
        )
    ]
    if cut:
        notes.append(
            f"Cut off, and read up to there: {len(set(cut))} event files, such as"
            f" {cut[0]}."
        )
    return dataclasses.replace(
        table, notes=(*table.notes, *notes), not_random=_tuned_by(folder, files)
    )


def _tuned_by(folder: Path, files: Sequence[Path]) -> str | None:
    """Returns what a tuner that may adapt left beside its runs; None without any."""
    for file in files:
        if file.name.startswith(("searcher-state", "search_gen_state")):
            return (
                f"{folder} has {file.name} of a searcher of Ray Tune's, and does not say"
                " of which"
            )
        if file.parent.name.startswith("sweep-") and file.name.startswith("config-"):
            return (
                f"{folder} has {file.parent.name}, a sweep of W&B's, and does not say by"
                " which method it drew"
            )
    return None


def _check_alone(folder: Path, mlflow: Path) -> None:
    """Refuses to choose MLflow's folder where tables of runs may lie beside it."""
    beside = [
        file
        for file in (sorted(folder.iterdir()) if mlflow != folder else [])
        if file.is_file() and not file.name.startswith(".")
    ]
    tables = [file.name for file in _scored(beside)]
    if tables:
        raise RecordsError(
            "a source is one table of runs",
            f"{folder} has mlruns, {', '.join(tables[:6])}",
            f"Give one: {shlex.quote(str(mlflow))}"
            f" or {shlex.quote(str(folder / tables[0]))}.",
        )


def _files(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(
            part.startswith(".") and part != ".hydra"
            for part in path.relative_to(folder).parts
        )
        if not hidden and "__MACOSX" not in path.parts and path.is_file():
            _check_name(str(path))
            found.append(path)
        if len(found) > MOST_FILES:
            raise RecordsError(
                f"a folder has up to {MOST_FILES:,} files", f"{folder} has more"
            )
    return found


def _is_events(file: Path) -> bool:
    return "tfevents" in file.name


def _scored(files: Sequence[Path]) -> list[Path]:
    """Returns the files that may hold scores."""
    there = set(files)
    found = []
    for file in files:
        if _is_events(file):
            found.append(file)
            continue
        kinds = [s for s in file.suffixes if s.lower() in ENDINGS]
        if not kinds or file.name.lower().startswith(tuple(_ASIDE)):
            continue
        if file.name in _SETTINGS or ".hydra" in file.parts:
            continue
        if any(
            file.name == second and file.with_name(first) in there
            for first, second in _TWICE
        ):
            continue
        if file.stat().st_size:
            found.append(file)
    texts = [file for file in found if not _is_events(file)]
    # Where scores lie in files, events repeat them (Lightning and Ray write both).
    return texts or found


def _settings(place: Path) -> dict[str, Any]:
    for name in _SETTINGS:
        if (place / name).is_file():
            return {
                f"config.{key}": value
                for key, value in trackers.settings(place / name).items()
                if not key.startswith(("_wandb", "wandb_version"))
            }
    return {}


class _Reader:
    """The rows of all files of a folder, one file at a time."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        settled: Mapping[Path, Mapping[str, Any]],
        cut: list[str],
    ) -> None:
        self._folder, self._files, self._settled = folder, files, settled
        self._cut = cut

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Yields them, with the run and the folder that each is of."""
        for file in self._files:
            inside = file.relative_to(self._folder)
            by_folder = bool(self._settled[file.parent]) or _is_events(file)
            run = inside.parent if by_folder else inside.with_suffix("")
            about = {
                "run": run.as_posix(),
                "folder_path": inside.parts[0] if len(inside.parts) > 1 else "",
                **self._settled[file.parent],
            }
            for row in self._of(file):
                yield {**about, **row}

    def _of(self, file: Path) -> Iterator[Mapping[str, Any]]:
        if _is_events(file):
            rows, said, cut = tensorboard_events.read(file)
            if cut:
                self._cut.append(str(file))
            named = {f"config.{name}": value for name, value in said.items()}
            yield from ({**named, **row} for row in rows or ([{}] if said else []))
            return
        table = open_file(file)
        for batch in table.batches(table.columns):
            for row in batch.to_dict("records"):
                own = {str(name): cell for name, cell in row.items() if name}
                # "run" of several files may be the same number in each.
                yield (
                    own
                    if len(self._files) == 1
                    else {k: v for k, v in own.items() if k != "run"}
                )


def _kind(files: Sequence[Path]) -> str:
    kinds = dict.fromkeys(
        "JSON"
        if "json" in file.name.lower()
        else "Parquet"
        if ".p" in file.suffix
        else "CSV"
        for file in files
    )
    return " and ".join(kinds)


def _contents(folder: Path, files: Sequence[Path]) -> str:
    kinds = Counter(file.suffix.lower() or file.name for file in files)
    if not kinds:
        return "nothing that is no folder"
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
