"""What the names of columns say."""

import pytest

from archtrial.errors import RecordsError
from archtrial.records.columns import Wanted, find, known, measure, short, words


def roles(*names, **wanted):
    return find(names, Wanted(**wanted)).roles


@pytest.mark.parametrize(
    "name",
    [
        "val_acc", "valid_accuracy", "validation/accuracy", "metrics.val_acc",
        "Validation Accuracy", "valAcc", "final_validation/accuracy", "user.val_accuracies",
    ],
)  # fmt: skip
def test_a_validation_accuracy_has_many_names(name):
    assert measure(name).name == "accuracy"
    if not name.startswith("user"):  # Optuna's objective goes before what users noted
        assert roles("model", "lr", name)["validation"] == name


@pytest.mark.parametrize(
    ("name", "is_called", "lower", "fraction", "rate"),
    [
        ("val_loss", "loss", True, False, False),
        ("validation", "score", None, False, False),
        ("val_err", "error", True, False, False),
        ("learning_curve[-1].top_1", "top_1", False, True, False),
        ("val_acc[best]", "accuracy", False, True, False),
        ("val_r2", "r2", False, False, False),
        ("valid macro F1", "macro_f1", False, True, False),
        ("dev/bleu", "bleu", False, False, False),
        ("val_bpb", "bpb", True, False, False),
        ("val_crps", "crps", True, False, False),
        ("val_top1_err", "top_1_error", True, True, False),
        ("val_neg_mean_squared_error", "neg_squared_error", False, False, False),
        ("val_neg_log_likelihood", "neg_log_likelihood", True, False, False),
        ("val_dice_loss", "dice_loss", True, False, False),
        ("val_score", "score", False, False, False),
        ("val_loss_accuracy", "loss_accuracy", None, False, False),
        ("val_loss_reduction", "loss_reduction", None, False, False),
        ("val_1_acc", "1_accuracy", None, False, False),
        ("val_energy_score", "energy", None, False, False),
        ("value", "score", None, False, False),
        ("val_zeta", "zeta", None, False, False),
    ],
)
def test_a_name_says_what_is_measured(name, is_called, lower, fraction, rate):
    found = measure(name)
    assert (found.name, found.lower_is_better) == (is_called, lower)
    assert (found.fraction, found.rate) == (fraction, rate)


@pytest.mark.parametrize(
    ("validation", "test"),
    [
        ("val_acc", "test_acc"),
        ("final_validation/accuracy", "final_test/accuracy"),
        ("metrics.valid_loss", "metrics.test_loss"),
        ("validation", "test"),
        ("value", "user.test_acc"),
        ("validation", "test_f1"),
    ],
)
def test_the_test_score_is_that_of_the_same_metric(validation, test):
    assert roles(validation, test, "test_seconds")["test"] == test


def test_another_metric_or_several_are_no_partner():
    assert "test" not in roles("val_acc", "test_f1")
    assert "test" not in roles("value", "user.test_acc", "user.test_f1")
    assert "test" not in roles("val_acc", "test_acc", test="none")


def test_plain_scores_go_before_accuracy_and_losses_come_last():
    order = ["val_score", "val_acc", "val_f1", "val_bleu", "val_loss", "validation"]
    for i in range(len(order)):
        assert roles(*reversed(order[i:]))["validation"] == order[i]
    found = find(["max_val_acc", "best_val_acc", "final_val_acc"], Wanted())
    assert found.roles["validation"] == "final_val_acc"
    assert found.others == ("max_val_acc", "best_val_acc")


def test_trackers_mark_what_was_tuned():
    names = ["config.lr", "config.depth", "notes", "val_acc", "_step"]
    assert find(names, Wanted()).hyperparameters == ("config.lr", "config.depth")
    plain = ["lr", "depth", "start_time", "_x", "train_loss", "val_acc", "curve[-1].a"]
    found = find(plain, Wanted())
    assert found.hyperparameters == ("lr", "depth")
    assert "start_time" in found.unused
    assert find(plain, Wanted(hyperparameters=("_x",))).hyperparameters == ("_x",)
    assert short("params.lr") == "lr"
    assert short("HP_lr") == "lr"


def test_a_column_has_one_role():
    # "trial" pairs here, so it is not the run as well.
    assert "run" not in roles("trial", "val_acc", pair="trial")


@pytest.mark.parametrize(
    "name", ["lr", "curve[-1].acc", "curve[0].acc", "curve[best].acc", "curve", "row",
             "source", "config.nested"]
)  # fmt: skip
def test_paths_that_lead_somewhere(name):
    assert known(name, ["lr", "curve[-1].acc", "config"], "--x", "t") == name


@pytest.mark.parametrize("name", ["lrr", "curve[-1].loss", "other.x"])
def test_paths_that_lead_nowhere(name):
    with pytest.raises(RecordsError, match="--x is a column of t"):
        known(name, ["lr", "curve[-1].acc", *(f"c{i}" for i in range(20))], "--x", "t")


def test_words():
    assert words("valAcc[-1]/top_5 r2") == ["val", "acc", "top", "5", "r2"]
