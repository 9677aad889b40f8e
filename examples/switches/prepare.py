"""Makes the images of this example from a pool of Fashion-MNIST's.

    python examples/switches/prepare.py FASHION_POOL.npz

The pool holds `images` (N, 28, 28) and `labels`, sorted in turns by class. Written is
fashion_subset.npz beside this file: 4,000 images to train and choose on, 6,000 to test.
"""

import sys
from pathlib import Path

import numpy as np

TRAIN, TEST = 4_000, 6_000


def main(pool: str) -> None:
    """Writes the file."""
    with np.load(pool) as held:
        x, y = held["images"], held["labels"]
    np.savez_compressed(
        Path(__file__).parent / "fashion_subset.npz",
        x=x[:TRAIN],
        y=y[:TRAIN],
        x_test=x[TRAIN : TRAIN + TEST],
        y_test=y[TRAIN : TRAIN + TEST],
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
