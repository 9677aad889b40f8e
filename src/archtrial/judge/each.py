"""A table that holds several problems, each judged by itself: one page of all of them.

A table of benchmarks often has a column of data sets or workloads. Scores of different
ones have different metrics, so each is a comparison of its own, and what they have in
common is their margin: the smallest gap worth having.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archtrial.errors import ProtocolError, UserError
from archtrial.judge.document import Judgement
from archtrial.judge.experiment import Finding, Verdict
from archtrial.judge.table import judge_imported, without_baseline
from archtrial.report import article, frame
from archtrial.report.rows import draw_in_margins
from archtrial.statistics import holm
from archtrial.words import numbers
from archtrial.words.phrases import joined

if TYPE_CHECKING:
    from archtrial.records.columns import Wanted
    from archtrial.records.importers import Imported

__all__ = ["Problem", "judge_each"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """One value of the column, and what was found there."""

    value: str
    imported: "Imported"
    judgement: Judgement

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """One for each challenger."""
        return list(self.judgement.verdict.to_dict()["comparisons"])

    @property
    def metric(self) -> numbers.Metric:
        """Of its scores."""
        measure = self.imported.measure
        return numbers.Scored(
            measure.name, not measure.lower_is_better, self.imported.bounded
        )


def judge_each(
    sources: Sequence[str | Path],
    column: str,
    *,
    baseline: str | None,
    challengers: Sequence[str] | None = None,
    columns: "Wanted | None" = None,
    where: Sequence[str] = (),
    margin: float | None = None,
    margins: Mapping[str, float] | None = None,
    reading: Mapping[str, Any] | None = None,
    **declared: Any,
) -> tuple[Finding, list[Problem]]:
    """Judges each value of a column by itself.

        judge_each(["runs.csv"], "dataset", baseline="mlp")
        judge_each(["runs.csv"], "base", baseline="{base}", margins={"wmt": .2})

    Args:
        sources: As for `judge_sources`.
        column: Whose values are the problems, in the order of the table.
        baseline: The arm that the others are compared with; "{COLUMN}" in it stands
            for the problem.
        challengers: The others, in the same way; by default all of them.
        columns: The columns that are not to be found by their usual names.
        where: `COLUMN=VALUE` each: only rows that have it count.
        margin: The smallest gap worth having, in the units of the scores.
        margins: That of single problems, in place of `margin`.
        reading: What else `records.importers.read` takes.
        **declared: What `judge_imported` takes besides.

    Raises:
        RecordsError: The sources cannot be read, or no verdict can rest on a problem;
            the message names it.
        ProtocolError: An effort or a margin is impossible, or is of no problem.
    """
    from archtrial.records.columns import Wanted
    from archtrial.records.gathering import split_source, values_of
    from archtrial.records.importers import read
    from archtrial.records.sources import open_source

    named = "{" + column + "}"
    tables = [open_source(split_source(str(source))[1]) for source in sources]
    values, without = values_of(tables, column, where)
    said = dict(reading or {})
    if without:
        rows = f"{numbers.count(without, 'row')} without a value of {column}"
        said["notes"] = [*said.get("notes", ()), f"Left out: {rows}."]
    _check_named(named, [baseline, *(challengers or ())])
    unknown = [value for value in margins or {} if value not in values]
    if unknown:
        raise ProtocolError(
            f"a margin of its own is of one of the problems, {joined(values)}",
            repr(unknown[0]),
        )
    wanted = columns or Wanted()
    problems = []
    for value in values:
        written = [
            None if name is None else name.replace(named, value)
            for name in (baseline, *(challengers or ()))
        ]
        try:
            imported = read(
                sources,
                wanted,
                baseline=written[0],
                challengers=[name for name in written[1:] if name] or None,
                where=[*where, f"{column}={value}"],
                **said,
            )
            if baseline is None and value in imported.arms:
                raise without_baseline(
                    imported,
                    f"Name one for all: --baseline '{named}', which is {value} here.",
                )
            own = (margins or {}).get(value, margin)
            judgement = judge_imported(imported, margin=own, **declared)
        except UserError as error:
            rule = f"{column}={value}: {error.rule}"
            raise type(error)(rule, error.received, error.way_out) from error
        problems.append(Problem(value, imported, judgement))
    document = _document(column, problems)
    return Finding(Verdict(document), _article(document, problems)), problems


def _check_named(named: str, arms: Sequence[str | None]) -> None:
    """Refuses what stands in curly brackets and is not the column."""
    for arm in arms:
        left = (arm or "").replace(named, "")
        if "{" in left or "}" in left:
            raise ProtocolError(
                f"with --each {named[1:-1]} an arm may have {named} in its name",
                repr(arm),
                f"Write {named}, or the arm's name.",
            )


# ------------------------------------------------------------------- what was found


def _notes(problems: Sequence[Problem]) -> tuple[list[str], list[list[str]]]:
    """Returns what is to be said of all problems, and of each one besides."""
    each = [list(problem.imported.understood.notes) for problem in problems]
    shared = [note for note in each[0] if all(note in own for own in each)]
    if len(each) == 1:
        shared = []
    return shared, [[note for note in own if note not in shared] for own in each]


def _document(column: str, problems: Sequence[Problem]) -> dict[str, Any]:
    found = [c for problem in problems for c in problem.comparisons]
    # Those that are adjusted for a problem's own challengers would be so twice.
    p_values = [c["p_value"] for c in found]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    overall = [
        None if p is None else over for p, over in zip(p_values, adjusted, strict=True)
    ]
    placed = iter(overall)
    words = list(dict.fromkeys(c["verdict"] for c in found))
    shared, notes = _notes(problems)
    return {
        "schema": 1,
        "each": column,
        "data": " and ".join(dict.fromkeys(p.imported.name for p in problems)),
        "verdict": words[0] if len(words) == 1 else "mixed",
        "sentence": _sentence(dict(zip(_names(problems), found, strict=True)), overall),
        "seed": problems[0].judgement.evidence.protocol["seed"],
        "protocol_hash": None,
        "notes": shared,
        "problems": [
            {
                "value": problem.value,
                "digest": problem.imported.digest,
                "notes": own,
                "p_values_over_all": [next(placed) for _ in problem.comparisons],
                **problem.judgement.verdict.to_dict(),
            }
            for problem, own in zip(problems, notes, strict=True)
        ],
    }


# Of one challenger, and of several.
_SAYING = {
    "architecture": ("is better by architecture", "are better by architecture"),
    "tuning": ("is ahead by tuning alone", "are ahead by tuning alone"),
    "equivalent": ("is as good as its baseline", "are as good as their baselines"),
    "baseline": ("is worse", "are worse"),
    "inconclusive": ("is undecided", "are undecided"),
    "not_assessable": ("cannot be judged", "cannot be judged"),
}


def _sentence(
    found: Mapping[str, Mapping[str, Any]], overall: Sequence[float | None]
) -> str:
    """Says how many challengers are what, and how many of these claims hold together."""
    counts = []
    for verdict, (one, several) in _SAYING.items():
        names = [name for name, c in found.items() if c["verdict"] == verdict]
        if names:
            said = one if len(names) == 1 else several
            counts.append(f"{len(names)} {said} ({joined(names)})")
    of = "" if len(found) == 1 else f"Of {len(found)} challengers, "
    head = f"{of}{'; '.join(counts)}."
    claims = [
        p is not None and p <= c["alpha"]
        for c, p in zip(found.values(), overall, strict=True)
        if c["verdict"] in ("architecture", "baseline", "tuning")
    ]
    if not claims or len(found) == 1:
        return head
    kept = sum(claims)
    if len(claims) == 1:
        said = f"the one that is told apart {'remains' if kept else 'does not remain'}"
    else:
        remaining = {0: "none remains", 1: "1 remains", len(claims): "all remain"}
        said = f"of the {len(claims)} that are told apart,"
        said += f" {remaining.get(kept, f'{kept} remain')}"
    return (
        f"{head} Each is judged by itself; {said} so when p is adjusted for all"
        f" {len(found)} (Holm)."
    )


# ----------------------------------------------------------------- what a reader sees


def _article(
    document: Mapping[str, Any], problems: Sequence[Problem]
) -> article.Article:
    rows: list[list[str]] = []
    gains: dict[str, tuple[Mapping[str, Any], float, str]] = {}
    names = iter(_names(problems))
    entries = zip(problems, document["problems"], strict=True)
    for problem, entry in entries:
        metric = problem.metric
        over_all = entry["p_values_over_all"]
        for found, p in zip(problem.comparisons, over_all, strict=True):
            rows.append(_row(problem, found, p))
            name = next(names)
            if found["effect"]["low"] is not None:
                gains[name] = (
                    found["effect"],
                    found["margin"],
                    numbers.gained(found["effect"], metric),
                )
    headings = [document["each"], "challenger", "metric", "baseline", "challenger's"]
    headings += ["gain", "margin", "p", "p over all", "verdict"]
    level = numbers.level(problems[0].comparisons[0]["alpha"])
    exhibit = article.Exhibit(
        f"Test scores and gains, with {level} intervals",
        frame.Table(headings, rows),
        "p over all is adjusted for all comparisons of this page (Holm).",
    )
    apart = sum(not g["low"] <= 0 <= g["high"] for g, _, _ in gains.values())
    differ = "differs" if apart == 1 else "differ"
    lead = f"Of {numbers.count(len(gains), 'gain')}, {apart} {differ} from 0"
    draw = functools.partial(draw_in_margins, lead, gains)
    plate = article.Plate(
        draw,
        "To the right of 0 the challenger is better. Gains are in multiples of what is"
        f" worth having, the margin; the band is less than one. {level} intervals.",
    )
    return article.Article(
        title=f"Each {document['each']}",
        verdict=str(document["verdict"]).replace("_", " "),
        about=[document["data"], numbers.count(len(problems), "problem")],
        sentence=document["sentence"],
        numbers=(),
        sections=[
            article.Section("", figures=[plate] if gains else [], tables=[exhibit]),
            *(
                _section(document["each"], problem, entry["notes"])
                for problem, entry in zip(problems, document["problems"], strict=True)
            ),
        ],
        notes=document["notes"],
        glossary=_GLOSSARY,
        citation=frame.cited("Comparisons", document, {}),
        document=document,
        brief=_brief(document["each"], problems, rows),
    )


def _names(problems: Sequence[Problem]) -> list[str]:
    """Returns what each comparison is called, its problem's part of it once."""
    those = [(p.value, str(c["challenger"])) for p in problems for c in p.comparisons]
    challengers = [challenger for _, challenger in those]
    return [
        challenger
        if challenger.startswith(value) and challengers.count(challenger) == 1
        else f"{value}: {challenger}"
        for value, challenger in those
    ]


def _row(
    problem: Problem, found: Mapping[str, Any], over_all: float | None
) -> list[str]:
    metric = problem.metric
    return [
        problem.value,
        found["challenger"],
        numbers.label(metric),
        numbers.estimate(found["baseline_score"], metric),
        numbers.estimate(found["challenger_score"], metric),
        numbers.gained(found["effect"], metric),
        numbers.sized(found["margin"], metric),
        numbers.p_bare(found["p_value_adjusted"]),
        numbers.p_bare(over_all),
        found["verdict"].replace("_", " "),
    ]


def _brief(
    column: str, problems: Sequence[Problem], rows: Sequence[Sequence[str]]
) -> article.Brief:
    several = len(rows) > len(problems)
    cells = list(zip(*rows, strict=True))
    shown = [(column, cells[0], 0)]
    if several:
        shown.append(("challenger", cells[1], 0))
    shown += [
        ("metric", cells[2], 2),
        ("gain", cells[5], 0),
        ("margin", cells[6], 1),
        ("p", cells[7], 1),
        ("verdict", cells[9], 0),
    ]
    return article.Brief(
        "",
        "gain of the challenger, each problem by itself",
        "comparisons",
        [article.Column(*each) for each in shown],
    )


def _section(column: str, problem: Problem, notes: Sequence[str]) -> article.Section:
    found = problem.comparisons
    warnings = dict.fromkeys(w for c in found for w in c["warnings"])
    return article.Section(
        f"{column} {problem.value}",
        paragraphs=[c["sentence"] for c in found],
        note=" ".join([*notes, *warnings]),
    )


_GLOSSARY = {
    "margin": "The smallest difference worth having; declared, or by default the larger"
    " of half a point and one standard deviation over seeds.",
    "interval": "Differences that fit the runs of one problem, at the stated level.",
    "p over all": "How often chance alone makes such a difference, adjusted for all"
    " comparisons here: claiming those up to 5 % makes any false claim at most as often.",
    "undecided": "Neither a difference nor its absence is shown by these runs.",
}
