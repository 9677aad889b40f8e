"""Makes the two .npz files of this example from the images that they are parts of.

    python examples/relax/prepare.py FASHION_POOL.npz CIFAR_TRAIN.npz CIFAR_TEST.npz

The first holds `images` (N, 28, 28) and `labels`, sorted in turns by class; the others
`images` (N, 32, 32, 3) and `labels`. Written are fashion_subset.npz and
cifar10_subset.npz beside this file: 10,000 images to train and choose on, 2,000 to test.
"""

import sys
from pathlib import Path

import numpy as np

TRAIN, TEST = 10_000, 2_000


def main(fashion: str, cifar_train: str, cifar_test: str) -> None:
    """Writes both files."""
    here = Path(__file__).parent
    with np.load(fashion) as pool:
        x, y = pool["images"], pool["labels"]
        np.savez_compressed(
            here / "fashion_subset.npz",
            x=x[:TRAIN],
            y=y[:TRAIN],
            x_test=x[TRAIN : TRAIN + TEST],
            y_test=y[TRAIN : TRAIN + TEST],
        )
    with np.load(cifar_train) as train, np.load(cifar_test) as test:
        np.savez_compressed(
            here / "cifar10_subset.npz",
            x=train["images"][:TRAIN],
            y=train["labels"][:TRAIN],
            x_test=test["images"][:TEST],
            y_test=test["labels"][:TEST],
        )


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
