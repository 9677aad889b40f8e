"""The words that everybody reads: modern ones, and one for one thing."""

import re
from pathlib import Path

import pytest

import archtrial

SOURCE = Path(archtrial.__file__).parent
DOCS = SOURCE.parents[1] / "docs"
ARCHAIC = (
    "whence", "whither", "hither", "lest", "dear", "mend", "mends", "mended", "hence",
    "foretell", "foretold", "thereof", "wherein", "betwixt", "crew", "other sides",
)  # fmt: skip


def texts():
    found = [
        path
        for kind in ("*.py", "*.html", "*.css")
        for path in sorted(SOURCE.rglob(kind))
    ]
    return found + sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("word", ARCHAIC)
def test_nobody_has_to_know_old_words(word):
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    assert [p.name for p in texts() if pattern.search(p.read_text("utf-8"))] == []


def test_units_are_taken_off_no_text():
    """Whoever wants a number without its unit asks for it."""
    stripping = re.compile(r"""(removesuffix|replace)\(\s*["'] ?(points?|%)["']""")
    found = [p.name for p in texts() if stripping.search(p.read_text("utf-8"))]
    assert found == []
