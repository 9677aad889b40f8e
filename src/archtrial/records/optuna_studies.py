"""Studies that Optuna tuned, read as tables of runs.

Optuna keeps no word of which sampler proposed a trial. TPE in its multivariate form,
GP, CMA-ES, genetic and grid samplers leave traces in the trials; plain TPE leaves
none, no more than random search does. So a study counts as random search only where
it says so itself, in a user attribute `sampler`, or where the user does.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from archtrial.errors import RecordsError
from archtrial.records.rows import Table, follow, loads

__all__ = ["is_study", "open_study"]

_TRACES = {
    "tpe:": "TPE",
    "gp:": "a Gaussian process",
    "cma:": "CMA-ES",
    "sepcma:": "CMA-ES",
    "cmawm:": "CMA-ES",
    "grid_id": "a grid",
    "NSGA": "a genetic algorithm",
    "BaseGASampler": "a genetic algorithm",
    "qmc:": "a quasi-random sequence",
}
"""What samplers leave in a trial's system attributes."""


def is_study(source: str) -> bool:
    """Says whether a source is a storage of Optuna's: a URL or a journal."""
    place = source.rpartition("#")[0] or source
    url = "://" in source and not source.startswith(("http://", "https://"))
    return url or place.endswith((".journal", ".log"))


def open_study(source: str) -> Table:
    """Opens a study by `STORAGE#NAME`; the name is needed only where there are several.

    Args:
        source: `sqlite:///FILE`, another URL of a database, or a journal file.

    Raises:
        RecordsError: Optuna is not installed, there is no such storage or study, it
            has several objectives, or not one trial is finished.
    """
    place, _, name = source.rpartition("#") if "#" in source else (source, "", "")
    try:
        import optuna
    except ImportError:
        raise RecordsError(
            "a study of Optuna's is read by Optuna",
            "it is not installed",
            "pip install 'archtrial[optuna]'",
        ) from None

    try:
        study = _loaded(optuna, place, name)
        if len(study.directions) > 1:
            raise RecordsError(
                "a study has one objective", f"{source} has {len(study.directions)}"
            )
        trials = study.get_trials(deepcopy=False)
        enqueued = [trial for trial in trials if "fixed_params" in trial.system_attrs]
        trials = [trial for trial in trials if "fixed_params" not in trial.system_attrs]
        rows = [_row(trial) for trial in trials]
        not_random = _not_random(study, trials)
    except RecordsError:
        raise
    except Exception as error:
        # What is damaged shows itself wherever Optuna trusts it: all mean the same.
        raise RecordsError(
            "a study of Optuna's is whole",
            f"{place}: {_said(error)}",
            "The storage may be damaged, or of another release of Optuna's.",
        ) from error
    if not rows:
        raise RecordsError("a study has trials", f"{source} has none")
    names = dict.fromkeys(name for row in rows for name in row)

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        yield pd.DataFrame(
            {
                column: pd.Series([follow(column, row) for row in rows], dtype=object)
                for column in columns
            }
        ).set_axis(range(1, len(rows) + 1))

    pruned = sum(trial.state.name == "PRUNED" for trial in trials)
    notes = []
    if enqueued:
        notes.append(
            f"{len(enqueued)} enqueued trials of {study.study_name} are left out: they"
            " were chosen by hand."
        )
    if pruned:
        notes.append(
            f"{pruned} pruned trials of {study.study_name} count with the last score"
            " they reported."
        )
    return Table(
        "Optuna study",
        source,
        tuple(names),
        batches,
        lower_is_better=study.direction.name == "MINIMIZE",
        not_random=not_random,
        notes=tuple(notes),
    )


def _loaded(optuna: Any, place: str, name: str) -> Any:
    """Returns a study, opened without writing to its storage."""
    path = _file(place)
    if path is not None and not path.is_file():
        # Optuna would make it.
        raise RecordsError("there is no such file", str(path))
    try:
        if "://" not in place:
            storage = optuna.storages.JournalStorage(_Log(Path(place)))
        elif path is not None:
            storage = optuna.storages.RDBStorage(
                f"sqlite:///file:{path}?mode=ro&uri=true", skip_table_creation=True
            )
        else:
            storage = optuna.storages.RDBStorage(place, skip_table_creation=True)
        names = [study.study_name for study in storage.get_all_studies()]
    except RecordsError:
        raise
    except Exception as error:
        # A storage can fail in the ways of any database: all mean the same here.
        raise RecordsError(
            "an Optuna storage can be read",
            f"{place}: {_said(error)}",
        ) from error
    if not name and len(names) == 1:
        (name,) = names
    if name not in names:
        raise RecordsError(
            "a study is named as STORAGE#NAME",
            f"{place} has {', '.join(names) or 'no study'}",
            _choices(place, names),
        )
    return optuna.load_study(study_name=name, storage=storage)


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _choices(place: str, names: Sequence[str]) -> str:
    """Returns what to type for each study, an arm each."""
    if not names:
        return ""
    typed = " ".join(
        shlex.quote(f"{name}={place}#{name}" if "/" not in name else f"{place}#{name}")
        for name in names[:8]
    )
    more = f" (and {len(names) - 8} more)" if len(names) > 8 else ""
    return f"Give one, or one for each arm: {typed}{more}."


def _file(place: str) -> Path | None:
    """Returns the file of a storage, if it is one."""
    if "://" not in place:
        return Path(place)
    if place.startswith("sqlite:///"):
        return Path(place.removeprefix("sqlite:///").partition("?")[0])
    return None


class _Log:
    """A journal that is read and never written: Optuna's own would make the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yields the entries from one on; a last line that was cut off is none."""
        with open(self._path, encoding="utf-8") as file:
            for number, line in enumerate(file):
                if number < log_number_from or not line.endswith("\n"):
                    continue
                try:
                    entry = loads(line)
                    if not isinstance(entry, dict):
                        raise ValueError("it is no object")
                except ValueError as error:
                    raise RecordsError(
                        "a journal of Optuna's holds a JSON object a line",
                        f"{self._path}, line {number + 1}: {error}",
                    ) from None
                yield entry

    def append_logs(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Refuses: whoever judges writes nothing."""
        raise RecordsError("a journal is only read here", f"{len(logs)} entries")


def _row(trial: Any) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        **{f"params.{name}": chosen for name, chosen in trial.params.items()},
        **{f"user.{name}": said for name, said in trial.user_attrs.items()},
    }


def _not_random(study: Any, trials: Sequence[Any]) -> str | None:
    """Returns why trials cannot be taken for random search; None where they can."""
    for trial in trials:
        left = [
            sampler
            for key in trial.system_attrs
            for trace, sampler in _TRACES.items()
            if key.startswith(trace)
        ]
        if left:
            return (
                f"trial {trial.number} of {study.study_name} was proposed by {left[0]}"
            )
    said = {
        str(attributes["sampler"])
        for attributes in (study.user_attrs, *(trial.user_attrs for trial in trials))
        if "sampler" in attributes
    }
    if said and all("random" in sampler.lower() for sampler in said):
        return None
    if said:
        return f"{study.study_name} says its sampler is {', '.join(sorted(said))}"
    return (
        f"{study.study_name} does not say which sampler proposed its trials, and"
        " Optuna's default is an adaptive one"
    )
