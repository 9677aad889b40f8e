import pytest
import torch

from archtrial.experiments import relax
from archtrial.experiments.relax.study import Study

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
