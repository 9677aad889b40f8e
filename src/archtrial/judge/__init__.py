"""From a table of runs to the verdict and its page, without training anything.

Everything here can be done again years later, from a study's store (`judge_study`) or
from somebody else's table (`judge_sources`). Both end in one `assess`.
"""

from archtrial.judge.comparing import Score
from archtrial.judge.document import Judgement, Verdict, assess
from archtrial.judge.looks import at_look, decisions
from archtrial.judge.study import judge_study
from archtrial.judge.table import judge_imported, judge_sources

__all__ = [
    "Judgement",
    "Score",
    "Verdict",
    "assess",
    "at_look",
    "decisions",
    "judge_imported",
    "judge_sources",
    "judge_study",
]
