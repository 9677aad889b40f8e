"""An experiment of one's own: the example of ARCHITECTURE.md, and the parts it rests on."""

import importlib.metadata
import io
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from archtrial import cli, experiments, metrics, progress
from archtrial.errors import ArmError, ProtocolError, RecordsError, StudyError
from archtrial.judge import experiment
from archtrial.records.store import Store
from archtrial.report import article, drawing, rows
from archtrial.trainers import ByCoordinate, Item
from examples.own_experiment import batch_sizes

FILE = Path(batch_sizes.__file__)


def declared(**more):
    return batch_sizes.Protocol(
        **{
            "data": "digits",
            "architecture": "mlp(width=8)",
            "batch_sizes": (50, 200),
            "epochs": 2.0,
            "learning_rates": (0.003, 0.03),
            "tuning_seeds": 1,
            "seeds": 6,
            **more,
        }
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = batch_sizes.Study(declared(), tmp_path_factory.mktemp("own"))
    made.run()
    return made


def kept(folder):
    return (folder / "verdict.json").read_bytes()


def test_it_stays_as_short_as_an_experiment_of_ones_own_should_be():
    assert len(FILE.read_text().splitlines()) <= 200
    assert len((FILE.parent / "README.md").read_text().splitlines()) <= 40


def test_it_ends_in_a_verdict_with_its_intervals_and_its_cost(study):
    document = json.loads(kept(study.folder))
    assert document["verdict"] in batch_sizes.LEADS
    assert document["sentence"].startswith(batch_sizes.LEADS[document["verdict"]])
    with Store(study.folder, read_only=True) as store:
        runs = store.runs()
    first, second = document["batch_sizes"]
    assert first["difference"] is None
    means = []
    for size in (50, 200):
        own = experiment.runs_of(runs, "confirm", batch_size=size)
        # The same for all batch sizes, whatever the rate: so they are paired.
        assert [(run.pair, run.seed) for run in own] == [(0, s) for s in range(1, 7)]
        means.append(sum(run.test for run in own) / 6)
    found = second["difference"]
    assert found["estimate"] == pytest.approx(means[1] - means[0])
    assert found["low"] < found["estimate"] < found["high"]
    assert document["cost"]["trainings"] == len(runs) == 2 * (2 + 6)
    assert document["cost"]["flops"] == sum(run.flops for run in runs) > 0
    assert all(run.per_example is not None for run in runs)


def test_each_batch_size_has_the_rate_that_validation_chose(study):
    document = json.loads(kept(study.folder))
    with Store(study.folder, read_only=True) as store:
        runs = store.runs()
        assert store.openings == 1
    for entry in document["batch_sizes"]:
        tried = experiment.runs_of(runs, "search", batch_size=entry["batch_size"])
        best = max(tried, key=lambda run: run.validation)
        assert entry["learning_rate"] == best.configuration["learning_rate"]


def test_its_plans_are_recorded(study):
    with Store(study.folder, read_only=True) as store:
        assert progress.stages(store) == [
            progress.Stage("learning rates", 4, 4),
            progress.Stage("fresh seeds", 12, 12),
        ]


def test_page_and_terminal_show_its_sentence(study, tmp_path):
    page = study.report(tmp_path / "report.html").read_text()
    assert page == study.report(tmp_path / "again.html").read_text()
    lead = batch_sizes.LEADS[study.verdict.verdict]
    assert lead in page
    assert "16 trainings" in page
    assert "differences for all sizes at once" in page
    shown = io.StringIO()
    article.show(study.judgement.article, Console(file=shown, width=400))
    assert str(study.verdict) in shown.getvalue()
    assert "16 trainings" in shown.getvalue()
    assert len(shown.getvalue().splitlines()) <= article.LINES


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stage", ["learning rates", "fresh seeds"])
def test_it_goes_on_after_an_interruption_to_the_same_bytes(study, tmp_path, stage):
    def watch(standing):
        if standing.stage == stage and standing.done:
            raise StoppedError

    with pytest.raises(StoppedError):
        batch_sizes.Study(declared(), tmp_path).run(watch=watch)
    with Store(tmp_path, read_only=True) as store:
        before = {run.key: run.seconds for run in store.runs()}
    assert 0 < len(before) < 16
    with pytest.raises(RecordsError, match="python batch_sizes"):
        batch_sizes.judge(tmp_path)
    batch_sizes.Study(declared(), tmp_path).run()
    with Store(tmp_path, read_only=True) as store:
        after = {run.key: run.seconds for run in store.runs()}
    assert before.items() <= after.items()  # what had finished was not trained again
    assert kept(tmp_path) == kept(study.folder)


def test_two_workers_give_the_same_bytes(study, tmp_path):
    batch_sizes.Study(declared(), tmp_path).run(workers=2)
    assert kept(tmp_path) == kept(study.folder)


def test_all_batch_sizes_begin_with_the_same_weights(study):
    first, second = study.trainer.trainers.values()
    one, other = (study._item("confirm", size, 1, 0, 3) for size in (50, 200))
    assert first.job(one).initial_seed == second.job(other).initial_seed
    assert first.job(one).order_seed == second.job(other).order_seed
    again = study._item("confirm", 50, 1, 0, 4)
    assert first.job(again).initial_seed != first.job(one).initial_seed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"batch_sizes": (50,)}, "two or more"),
        ({"batch_sizes": (50, 50)}, "all different"),
        ({"batch_size": 50}, "Leave batch_size out"),
        ({"learning_rates": (0.1, 0.01)}, "ascend"),
        ({"learning_rates": ()}, "ascend"),
        ({"seeds": 5}, "Declare seeds = 6"),
        ({"steps": 10}, "Remove one of the two"),
    ],
)
def test_what_cannot_be_judged_is_refused(more, said):
    with pytest.raises(ProtocolError, match=said):
        declared(**more)


def test_an_arm_that_declares_what_is_not_used_is_refused(tmp_path):
    with pytest.raises(ProtocolError, match="fixed options"):
        batch_sizes.Study(declared(architecture="mlp(recipe=modern)"), tmp_path)
    with pytest.raises(ArmError):
        batch_sizes.Study(declared(architecture="sklearn:LogisticRegression"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_declaration_does_not_go_on_in_its_folder(study):
    other = batch_sizes.Study(declared(batch_sizes=(50, 100)), study.folder)
    with pytest.raises(StudyError, match="batch_sizes"):
        other.run()


def test_where_one_batch_size_diverges_there_is_no_verdict(tmp_path):
    rates = {"learning_rates": (1e30,), "recipe": {"gradient_clip": None}}
    made = batch_sizes.Study(declared(**rates, batch_sizes=(50, 400)), tmp_path)
    made.run()
    assert made.verdict.verdict == "not_assessable"


def test_a_script_tells_a_mistake_without_a_traceback(tmp_path):
    with pytest.raises(SystemExit, match="nowhere"):
        batch_sizes.main("nowhere.csv", "cnn", str(tmp_path / "s"))


def test_the_records_of_an_experiment_are_read_by_its_own_judge(study):
    with pytest.raises(RecordsError, match="archtrial relax"):
        experiment.finished(study.folder, "relax", "archtrial relax --study")


def test_a_loss_of_the_users_own_is_minimised_and_part_of_what_is_asked(
    study, tmp_path
):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch.nn.functional import cross_entropy\n"
        "def loss(outputs, targets):\n"
        "    return 2 * cross_entropy(outputs, targets, reduction='none')\n"
    )
    recipe = {"loss": f"{file}:loss"}
    made = batch_sizes.Study(declared(recipe=recipe, seeds=6), tmp_path / "study")
    assert "2 * cross_entropy" in made.resolved["loss_source"]
    assert str(tmp_path) not in json.dumps(made.resolved)
    assert "loss_source" not in study.resolved
    minimised = made.trainer.trainers[50].problem_of("mlp(width=8)").minimised()
    outputs, labels = torch.zeros(1, 2, 10), torch.zeros(1, 2, dtype=torch.int64)
    losses = minimised.losses(outputs, labels, torch.zeros(1, 1))
    assert losses.tolist() == [pytest.approx([2 * math.log(10)] * 2)]


def test_a_difference_that_is_not_clear_of_0_is_drawn_hollow():
    gains = {
        "clear": {"estimate": -0.2, "low": -0.3, "high": -0.1},
        "not": {"estimate": 0.0, "low": -0.1, "high": 0.1},
    }
    accuracy = metrics.get("accuracy")
    figure = rows.draw_gains("Which?", gains, accuracy, 0.02, 720, "difference")
    faces = [
        line.get_markerfacecolor()
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    ]
    assert faces == [drawing.LIGHT["challenger-1"], drawing.LIGHT["paper"]]
    assert figure.axes[0].get_xlabel() == "difference, points"


def test_items_differ_by_further_coordinates():
    one = Item("a", 1, 2, "search", {}, further={"size": 3})
    other = Item("a", 1, 2, "search", {}, further={"size": 4})
    assert one.coordinates == {"arm": "a", "pair": 1, "seed": 2, "size": 3}
    assert one.names == other.names  # so that they are paired
    given = ByCoordinate("size", {4: Alone(), 3: Alone()})
    assert given.divide([one, other]) == [(other,), (one,)]


class Alone:
    def divide(self, items):
        return [(item,) for item in items]


# Who judges a kind from elsewhere.


def point(name="batch_sizes", value="examples.own_experiment.batch_sizes:judge"):
    return importlib.metadata.EntryPoint(name, value, experiments.GROUP)


@pytest.fixture
def installed(monkeypatch):
    def install(*points):
        def known(**asked):
            assert asked == {"group": experiments.GROUP}
            return points

        monkeypatch.setattr(importlib.metadata, "entry_points", known)

    return install


def test_without_its_package_a_kind_is_unknown(study, installed):
    installed(point("others"))
    with pytest.raises(
        RecordsError,
        match=r"known here\s+\(choose, mimic, mpl, others, profile, relax, scale\)",
    ) as found:
        experiments.judge(study.folder)
    assert "entry points archtrial.experiments" in str(found.value)


def test_archtrial_report_writes_the_page_of_an_installed_kind(
    study, installed, tmp_path, monkeypatch, capsys
):
    installed(point(), point())  # as where a package is found twice
    page, drawn = tmp_path / "page.html", tmp_path / "gains.svg"
    arguments = ["report", study.folder, "--output"]
    for more in ([page], [drawn, "--figure", "differences"]):
        monkeypatch.setattr(sys, "argv", ["archtrial", *map(str, [*arguments, *more])])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code in (0, None), capsys.readouterr().err
    assert page.read_text() == study.judgement.page()
    assert "<svg" in drawn.read_text()


def test_two_packages_that_judge_one_kind_are_told(study, installed):
    installed(point(), point(value="other:judge"))
    with pytest.raises(RecordsError, match="other:judge"):
        experiments.judge(study.folder)


def test_a_package_that_cannot_be_imported_is_told(study, installed):
    installed(point(value="no_such_package:judge"))
    with pytest.raises(RecordsError, match="ModuleNotFoundError"):
        experiments.judge(study.folder)


def test_no_package_takes_the_place_of_ours(installed, study):
    installed(point("relax", "no_such_package:judge"), point())
    assert experiments.kind_of(study.folder) == "batch_sizes"
    assert experiments.JUDGES["relax"][0] == "archtrial.experiments.relax.verdict"


def test_its_package_declares_the_entry_point():
    text = (FILE.parent / "pyproject.toml").read_text()
    assert f'[project.entry-points."{experiments.GROUP}"]' in text
    assert f'{batch_sizes.KIND} = "batch_sizes:judge"' in text
