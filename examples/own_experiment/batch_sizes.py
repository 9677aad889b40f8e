"""Does the batch size matter, with a learning rate tuned for each?

An experiment of one's own: what is declared, its stages, its judge, its page.
"""

import functools
import sys
from pathlib import Path
from typing import Any, Self

import pydantic
from rich.console import Console

from archtrial import trial, workflow
from archtrial.errors import ProtocolError, UserError
from archtrial.freezing import folder_of
from archtrial.judge import experiment
from archtrial.judge.experiment import Finding, Records
from archtrial.protocol import Arm, Count, OnData, Positive
from archtrial.records.table import best_on_average
from archtrial.report.article import Brief, Exhibit, Plate, Section, Table, show
from archtrial.report.frame import gain_facts
from archtrial.report.rows import draw_gains
from archtrial.statistics.simultaneous import seeds_needed
from archtrial.trainers import ByCoordinate, Item
from archtrial.words import numbers
from archtrial.words.findings import at_edges
from archtrial.words.phrases import joined

KIND, COMMAND = "batch_sizes", "python batch_sizes.py DATA ARM"
LEADS = {
    "different": "Yes, the batch size matters",
    "equivalent": "No batch size makes a difference worth having",
    "inconclusive": "Undecided",
    "not_assessable": "No verdict, since a batch size diverged on all fresh seeds",
}


class Protocol(OnData):
    """What is declared; only `data` has no default."""

    architecture: Arm = Arm.model_validate("cnn")
    batch_sizes: tuple[Count, ...] = (25, 100, 400)
    """Each is compared with the first, after as many epochs."""
    epochs: Positive = 15.0
    learning_rates: tuple[Positive, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
    """What is tried for each batch size, from the lowest to the highest."""
    tuning_seeds: Count = 2
    seeds: Count = 10

    @pydantic.model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        sizes, rates = self.batch_sizes, self.learning_rates
        if len({*sizes}) < max(2, len(sizes)) or "batch_size" in self.model_fields_set:
            rule = "batch sizes are two or more, all different, declared together"
            raise ProtocolError(rule, f"batch_sizes = {sizes}", "Leave batch_size out.")
        if not rates or [*rates] != sorted({*rates}):
            raise ProtocolError("learning rates ascend", f"{rates}")
        if self.seeds < (needed := seeds_needed(self.alpha)):
            rule = f"it takes {needed} seeds to show anything at alpha = {self.alpha:g}"
            raise ProtocolError(rule, f"{self.seeds}", f"Declare seeds = {needed}.")
        return self


class Study(workflow.Study[Protocol, Finding]):
    """The experiment, carried out in one folder."""

    def __init__(self, declared: Protocol, folder: str | Path | None = None) -> None:
        self.protocol, arm = declared, declared.architecture
        name, self.split, self.metric = trial.load(declared)
        self.sign = 1 if self.metric.higher_is_better else -1
        loops, notes = {}, list(self.split.notes)
        for size in declared.batch_sizes:
            sized = declared.model_copy(update={"batch_size": size})
            loops[size], said = trial.rehearsed(sized, arm, self.split, self.metric)
            notes += [note for note in said if note not in notes]
        self.trainer = ByCoordinate("batch_size", loops)
        self.resolved = {
            **trial.resolve(declared, name, self.split, self.metric),
            **declared.own(),
            "experiment": KIND,
            "batch_size": None,
            "source": loops[size].architectures[arm.name].source,
            "steps": [e.problem_of(arm.name).steps for e in loops.values()],
            "notes": notes,
        }
        self.folder = folder_of(self.resolved) if folder is None else Path(folder)

    def stages(self, work: workflow.Work) -> None:
        """Tries all learning rates, trains the best ones afresh, opens the test set."""
        declared, fresh = self.protocol, []
        tried = [
            self._item("search", size, rate, rate, -seed)
            for size in declared.batch_sizes
            for rate in range(len(declared.learning_rates))
            for seed in range(declared.tuning_seeds)
        ]
        work.carry_out("learning rates", tried)
        for size in declared.batch_sizes:
            runs = self.runs(work.store)
            own = experiment.runs_of(runs, "search", batch_size=size)
            best = best_on_average(own, self.sign)
            # The same pair and seed for all sizes: the same weights to begin with.
            for seed in range(1, declared.seeds + 1):
                fresh.append(self._item("confirm", size, best, 0, seed))
        work.carry_out("fresh seeds", fresh)
        work.open_test(lambda store: trial.score(store, self.split, self.metric))

    def _item(self, stage: str, size: int, rate: int, pair: int, seed: int) -> Item:
        arm, rates = self.protocol.architecture.name, self.protocol.learning_rates
        chosen = {"learning_rate": rates[rate]}
        return Item(arm, pair, seed, stage, chosen, further={"batch_size": size})

    def judge(self) -> Finding:
        """Reads the verdict off the folder's records."""
        return judge(self.folder)


def judge(folder: str | Path) -> Finding:
    """Judges a study from its folder; `archtrial report` calls it, too."""
    records = experiment.finished(folder, KIND, COMMAND)
    asked, metric = records.resolved, records.metric
    sizes, arm = asked["batch_sizes"], asked["architecture"]["name"]
    groups = [records.of("confirm", batch_size=size) for size in sizes]
    rates = [runs[0].configuration["learning_rate"] for runs in groups]
    edge = (asked["learning_rates"][0], asked["learning_rates"][-1])
    margin, found = records.margin(groups[0]), experiment.differences(groups, records)
    verdict, gains = experiment.decide(groups, found, margin), experiment.entries(found)
    each = [*zip(sizes, rates, groups, [None, *gains], strict=True)]
    changes = [f"{numbers.gained(gain, metric)} with {b}" for b, *_, gain in each[1:]]
    document = {
        **records.document(),
        "architecture": arm,
        "verdict": verdict,
        "sentence": f"{LEADS[verdict]}: against batches of {sizes[0]}, the test"
        f" {numbers.label(metric)} of {arm} on {asked['data']['name']} changes by"
        f" {joined(changes)}, after {asked['epochs']:g} epochs each and with a tuned"
        " learning rate.",
        "margin": margin,
        "batch_sizes": [
            {
                "batch_size": size,
                "learning_rate": rate,
                "score": records.score(runs),
                "diverged": sum(run.diverged for run in runs),
                "difference": gain,
            }
            for size, rate, runs, gain in each
        ],
        "warnings": at_edges(
            [f"batches of {b} ({numbers.value(r)})" for b, r, *_ in each if r in edge]
        ),
    }
    return _with_page(document, records)


def _with_page(document: dict[str, Any], records: Records) -> Finding:
    """Returns the finding; a terminal shows its sentence and the table."""
    metric, margin, alpha = records.metric, document["margin"], document["alpha"]
    entries, score = document["batch_sizes"], f"test {numbers.label(metric)}"
    gains = {f"batches of {e['batch_size']}": e["difference"] for e in entries[1:]}
    most = max(gains, key=lambda name: abs(gains[name]["estimate"]))
    named = f"difference in {score} to batches of {entries[0]['batch_size']}"
    lead = LEADS[document["verdict"]]
    draw = functools.partial(draw_gains, lead, gains, metric, margin, label=named)
    level = f"{numbers.level(alpha)} intervals, of differences for all sizes at once"
    columns = {
        "batch size": [str(e["batch_size"]) for e in entries],
        "learning rate": [numbers.value(e["learning_rate"]) for e in entries],
        score: [numbers.estimated(e["score"], metric) for e in entries],
        "difference": [numbers.gained(e["difference"], metric) for e in entries],
    }
    table = Exhibit(level, Table.of(columns))
    return records.finding(
        document,
        title="Batch sizes",
        sections=[Section("", figures=[Plate(draw, level)], tables=[table])],
        figures={"differences": draw},
        brief=Brief.of(table, "batch sizes"),
        numbers=gain_facts(
            most, gains[most], metric, alpha=alpha, margin=margin, of=named
        ),
    )


def main(data: str = "mnist1d", arm: str = "cnn", folder: str | None = None) -> None:
    """Carries the experiment out, or goes on with it; writes and shows what it found."""
    try:
        study = Study(Protocol(data=data, architecture=Arm.model_validate(arm)), folder)
        study.run(workers=2)
    except UserError as error:
        sys.exit(str(error))
    show(study.judgement.article, Console())
    print(f"page: {study.report(study.folder / 'report.html')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
