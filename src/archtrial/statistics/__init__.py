"""From arrays of scores to a verdict: pure functions on numpy arrays.

A library in its own right: it needs numpy and scipy alone. All scores come
turned so that higher is better.

- `search`: one arm's trials, and the two readings of their test scores.
- `tuning`: what a search of effort k is expected to find; whom to confirm.
- `comparison`: the gain of one arm over another, its interval and its p.
- `matching`: how much more tuning the baseline needs.
- `planning`: what a study will see, and what would settle it.
- `verdict`: the rules, and all of it put together; `wording`: the sentence.
"""

from archtrial.statistics.comparison import (
    Estimate,
    clopper_pearson,
    holm,
)
from archtrial.statistics.planning import (
    Plan,
    Settlement,
    effect_spread,
    largest_study,
    minimum_detectable_effect,
    plan_runs,
    seed_spread,
    settlement,
)
from archtrial.statistics.search import Estimand, Search
from archtrial.statistics.tuning import (
    TuningCurve,
    confirm_indices,
    edge_pileup,
    tuning_curve,
)
from archtrial.statistics.verdict import Comparison, Verdict, compare, decide

__all__ = [
    "Comparison",
    "Estimand",
    "Estimate",
    "Plan",
    "Search",
    "Settlement",
    "TuningCurve",
    "Verdict",
    "clopper_pearson",
    "compare",
    "confirm_indices",
    "decide",
    "edge_pileup",
    "effect_spread",
    "holm",
    "largest_study",
    "minimum_detectable_effect",
    "plan_runs",
    "seed_spread",
    "settlement",
    "tuning_curve",
]
