"""Makes the two .npz files of this example from the tables that they are parts of.

    python examples/tables/prepare.py UCI [MASK]

UCI is a copy of the folder `uci_datasets` of github.com/treforevans/uci_datasets, which
holds a folder for each table: data.csv.gz, whose last column is the target, and
test_mask.csv.gz, whose ten columns are ten fixed test sets. MASK says which of these is
taken, from 0 to 9; 0 unless it is given. The files lie beside this one.
"""

import sys
from pathlib import Path

import numpy as np

ROWS = {"concrete": None, "kin40k": 10_000}
"""How many training rows are kept, the first; None: all."""


def main(folder: Path, mask: int = 0) -> None:
    """Writes NAME.npz: x, y, x_test and y_test."""
    here = Path(__file__).parent
    for name, rows in ROWS.items():
        table = np.loadtxt(folder / name / "data.csv.gz", delimiter=",")
        masks = np.loadtxt(folder / name / "test_mask.csv.gz", delimiter=",")
        test = masks[:, mask] == 1
        train = table[~test][:rows]
        np.savez(
            here / f"{name}.npz",
            x=train[:, :-1], y=train[:, -1],
            x_test=table[test, :-1], y_test=table[test, -1],
        )  # fmt: skip
        print(f"{name}.npz: {len(train)} rows to train, {test.sum()} to test")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
