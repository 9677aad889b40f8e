"""From arrays of scores to a verdict: pure functions on numpy arrays.

A library in its own right: it needs numpy and scipy alone. All scores come
turned so that higher is better.

- `search`: one arm's trials, and the two readings of their test scores.
- `tuning`: what a search of effort k is expected to find; whom to confirm.
- `comparison`: the gain of one arm over another, its interval and its p.
- `matching`: how much more tuning the baseline needs, `scanning`: the same of many
  trials; `ladder`: how much longer a training.
- `planning`: what a study will see, and what would settle it; `looks`: when it may
  stop early.
- `robustness`: the gain in other parts of the space, for the median, at equal size.
- `simultaneous`: several differences over seeds, of which one will be picked.
- `attribution`: where the spread of scores comes from; `factorial`: which tweak did it.
- `verdict`: the rules, and all of it put together; `archtrial.words` tells it.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> drawn = rng.random(16)
    >>> def search(name, gain):
    ...     score = 0.8 - (drawn - 0.5) ** 2 + gain + rng.normal(0, 0.01, (2, 16))
    ...     return Search(
    ...         name, validation=score[0], test=score[1], test_run=None,
    ...         diverged=np.zeros(16, dtype=bool), cost=np.ones(16), worst=0.1,
    ...     )
    >>> (found,) = compare(
    ...     search("mlp", 0.0), [search("cnn", 0.1)],
    ...     effort=4, margin=0.005, metric="accuracy", seed=0,
    ... )
    >>> found.verdict
    'architecture'
"""

from archtrial.statistics.attribution import Shares, importance, shares
from archtrial.statistics.ceiling import Ceiling, ceiling
from archtrial.statistics.comparison import compare
from archtrial.statistics.factorial import Effect, Winner, effects, winner
from archtrial.statistics.intervals import Estimate, clopper_pearson, holm, mean
from archtrial.statistics.ladder import Climb, climb
from archtrial.statistics.looks import (
    Decision,
    Look,
    decide_look,
    declare_looks,
    grown_looks,
    permutations_needed,
    spend,
)
from archtrial.statistics.planning import (
    EvenError,
    Plan,
    Settlement,
    configurations_for,
    default_margin,
    detectable_effects,
    effect_spread,
    even_settlement,
    largest_study,
    minimum_detectable_effect,
    plan_runs,
    seed_spread,
    settlement,
    worthwhile_seeds,
)
from archtrial.statistics.robustness import Robustness, Row, robustness
from archtrial.statistics.search import Estimand, Search
from archtrial.statistics.simultaneous import Simultaneous, simultaneous
from archtrial.statistics.tuning import (
    TuningCurve,
    best_trials,
    confirm_indices,
    edge_pileup,
    tuning_curve,
)
from archtrial.statistics.verdict import Comparison, Verdict, decide

__all__ = [
    "Ceiling",
    "Climb",
    "Comparison",
    "Decision",
    "Effect",
    "Estimand",
    "Estimate",
    "EvenError",
    "Look",
    "Plan",
    "Robustness",
    "Row",
    "Search",
    "Settlement",
    "Shares",
    "Simultaneous",
    "TuningCurve",
    "Verdict",
    "Winner",
    "best_trials",
    "ceiling",
    "climb",
    "clopper_pearson",
    "compare",
    "configurations_for",
    "confirm_indices",
    "decide",
    "decide_look",
    "declare_looks",
    "default_margin",
    "detectable_effects",
    "edge_pileup",
    "effect_spread",
    "effects",
    "even_settlement",
    "grown_looks",
    "holm",
    "importance",
    "largest_study",
    "mean",
    "minimum_detectable_effect",
    "permutations_needed",
    "plan_runs",
    "robustness",
    "seed_spread",
    "settlement",
    "shares",
    "simultaneous",
    "spend",
    "tuning_curve",
    "winner",
    "worthwhile_seeds",
]
