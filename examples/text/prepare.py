"""Makes sentences.jsonl: what a sentence documents, of five libraries that are installed.

    python examples/text/prepare.py [FOLDER]

Each row has the first paragraph of the docstring of a public function, class or method of
NumPy, SciPy, pandas, scikit-learn or Matplotlib, and the name of the library. They are
read from the sources that lie on this machine, where archtrial needs all five: nothing is
downloaded, and no library is imported. Sentences of fewer than five words, and those that
two libraries share, are left out; 1,000 of each library are kept.
"""

import ast
import collections
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

LIBRARIES = {
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
}
EACH, SHORTEST = 1_000, 5


def main(folder: Path) -> None:
    """Writes the file, and says what is in it."""
    found = {name: set(_sentences(package)) for name, package in LIBRARIES.items()}
    owners = collections.Counter(text for own in found.values() for text in own)
    rows = []
    for name, own in found.items():
        # In an order that has nothing to do with the text, and is the same every time.
        alone = sorted((t for t in own if owners[t] == 1), key=_drawn)
        rows += [{"text": text, "library": name} for text in alone[:EACH]]
        kept = len(alone[:EACH])
        print(f"{name} {metadata.version(name)}: {kept} of {len(own)} sentences")
    rows.sort(key=lambda row: _drawn(row["text"]))
    path = folder / "sentences.jsonl"
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        encoding="utf-8",
    )
    print(f"{path}: {len(rows)} rows")


def _drawn(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _sentences(package: str) -> Iterator[str]:
    """Yields the first paragraph of each public docstring of a package's sources."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).parts
        if any(p in ("tests", "testing", "_vendor", "externals") for p in parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if not node.name.startswith("_") and len(text.split()) >= SHORTEST:
                yield text


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
