import json

import numpy as np
import pytest
import torch

from archtrial.experiments import relax
from archtrial.experiments.relax.study import Study

from . import mimicked
from .relaxed import runs_of

SMALL = relax.Protocol(
    data="digits",
    architecture="cnn(width=2, depth=2)",
    steps=6,
    relax_times=(0, 3, 6),
    seeds=6,
    learning_rates=(0.1, 0.4),
    tuning_seeds=2,
    evaluations=3,
    curvature_examples=20,
    margin=0.05,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors: and sums in one order, in fixtures that modules share as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _alone():
    """The global generator is everybody's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def small():
    """Three relax times and six seeds, in seconds."""
    return SMALL


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The small study, carried out once; nothing may be written into its folder."""
    study = Study(SMALL, tmp_path_factory.mktemp("relax") / "study")
    study.standings = []
    study.run(watch=study.standings.append)
    study.report(study.folder / "report.html")
    return study


@pytest.fixture(scope="session")
def rows(trained):
    """By (arm, rate, seed, reading), what the store has."""
    return {(r.arm, r.pair, r.seed, r.reading): r for r in runs_of(trained.folder)}


@pytest.fixture(scope="session")
def document(trained):
    return json.loads((trained.folder / "verdict.json").read_text())


@pytest.fixture(scope="session")
def amounts(tmp_path_factory):
    """A sequence in, an amount out."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 1, 12)).astype(np.float32)
    y = 100 + 7 * x[:, 0, :3].sum(1) + generator.normal(size=200)
    path = tmp_path_factory.mktemp("data") / "amounts.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="session")
def amount_study(amounts, tmp_path_factory):
    """Locally connected, on a regression, compared by the last weights' error."""
    protocol = relax.Protocol(
        data=amounts, architecture="cnn(width=2, depth=2)", form="lcn", reading="last",
        metric="rmse", steps=6, relax_times=(2, 4), seeds=6, tuning_seeds=1,
        learning_rates=(0.01, 0.1), evaluations=2, curvature_examples=10,
    )  # fmt: skip
    study = Study(protocol, tmp_path_factory.mktemp("amounts"))
    study.run()
    return study


@pytest.fixture(scope="session")
def mimic_data(tmp_path_factory):
    """120 series of two classes."""
    return mimicked.saved(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="session")
def mimic_study(mimic_data, tmp_path_factory):
    """Two students of an ensemble, carried out once; nothing may be written there."""
    study = mimicked.begun(tmp_path_factory.mktemp("mimic") / "study", mimic_data)
    mimicked.carried_out(study)
    study.report(study.folder / "report.html")
    return study
