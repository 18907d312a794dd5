"""Thin out the published images: every 37th value, so that no photograph is redistributed.

    python tests/reference/make_golden_samples.py noc-golden.npz

The input holds uint8 (3, 224, 224) arrays named INPUT/input and INPUT/NAME/PARAMETERS: what the
released code makes of the image INPUT. 37 shares no factor with 224, so that the values kept
lie in all rows and columns. Written to golden_samples.npz beside this script.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

STEP = 37
SAMPLES = Path(__file__).with_name("golden_samples.npz")


def main(golden: Path) -> None:
    with np.load(golden) as images:
        samples = {name: images[name].ravel()[::STEP] for name in images}
    np.savez_compressed(SAMPLES, **samples)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
