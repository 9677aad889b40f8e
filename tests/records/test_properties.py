"""No table whose truth is known gets a verdict of the wrong sign, whatever its form.

`evidence/tables.py` tries ten thousand of them; here are a few in each run.
"""

import pytest

from archtrial.records.columns import names_a_score
from archtrial.records.measures import measure
from evidence.made_tables import METRICS, UNKNOWN, judged, made


@pytest.mark.parametrize("number", range(40))
def test_a_table_of_known_truth_is_judged_right_once_its_questions_are_answered(
    tmp_path, number
):
    found = judged(made(number, tmp_path))
    # With a gain far above the noise there is nothing to leave open either.
    assert found.outcome == "right", found


@pytest.mark.parametrize(("name", "lower", "unit"), METRICS)
@pytest.mark.parametrize(
    "form",
    ["{}", "val_{}", "validation/{}", "metrics.dev_{}", "final_val_{}", "best_{}"],
)
def test_names_of_the_lists_have_their_direction(name, lower, unit, form):
    found = measure(form.format(name))
    assert found.lower_is_better == lower
    if unit != "share":
        assert not found.fraction


@pytest.mark.parametrize("name", [*UNKNOWN, "val", "validation", "metric", "result"])
def test_names_of_no_list_have_none(name):
    assert measure(f"val_{name}").lower_is_better is None


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("-val_loss", False),
        ("val_acc_std", None),
        ("one_minus_acc", True),
        ("1-acc", True),
    ],
)
def test_signs_complements_and_spreads(name, lower):
    assert measure(name).lower_is_better is lower


def test_ranks_of_cross_validation_are_scores():
    assert names_a_score("rank_test_score")
