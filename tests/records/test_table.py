import itertools
import math

import pytest

from archtrial.records.table import Run, best_of, best_on_average, rank


def run(score, pair):
    return Run("a", pair, 0, "search", {}, validation=score)


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("sign", "best"), [(1, 0.9), (-1, 0.1)])
def test_a_run_without_a_score_is_nobodys_best_wherever_it_stands(missing, sign, best):
    for scores in itertools.permutations([missing, 0.1, 0.9, missing]):
        runs = [run(score, i) for i, score in enumerate(scores)]
        assert best_of(runs, sign).validation == best
        last = sorted(runs, key=lambda r: -rank(r, sign))[-2:]
        assert not any(math.isfinite(r.validation) for r in last)


def test_of_equals_the_first_is_the_best():
    assert best_of([run(0.5, 3), run(0.5, 1)], 1).pair == 3
    assert best_of([run(math.nan, 3), run(math.nan, 1)], 1).pair == 3


@pytest.mark.parametrize("sign", [1, -1])
def test_a_configuration_is_best_by_its_mean_over_seeds(sign):
    scores = {3: (0.5, 0.9), 1: (0.8, 0.8), 2: (0.7, 0.7)}
    runs = [run(sign * s, pair) for pair, own in scores.items() for s in own]
    for shuffled in itertools.permutations(runs):
        assert best_on_average(shuffled, sign) == 1
    # One seed without a score is worse than any score.
    assert best_on_average([*runs, run(math.nan, 1)], sign) in (2, 3)
    assert best_on_average([run(0.5, 3), run(0.5, 1)], sign) == 1
