"""Draws docs/images/frozen_depth.gif: one episode whose depth camera freezes, believed and not.

It shows the videos that these write, the first above the second:

    python -m experiments.evaluate --pretrained walker_walk --episodes 1 --video --no-agreement \
        --missing experiments/frozen_depth.yaml [--trust on]
"""

import pathlib

import imageio.v3 as iio
import numpy as np
from PIL import Image

VIDEOS = pathlib.Path("runs/pretrained/walker_walk/videos")
NAMES = ("evaluation-frozen_depth", "evaluation-frozen_depth-trust")
PICTURE = pathlib.Path(__file__).parent / "images" / "frozen_depth.gif"
FRAMES, EVERY, SHRINK = 60, 2, 2
"""The first frames of the videos, of which one is shown in so many, and by how much smaller."""
COLOURS, MILLISECONDS = 32, 200


def main() -> None:
    """Writes the picture; all frames share the colours of the last."""
    videos = [iio.imread(VIDEOS / f"{name}.mp4", plugin="pyav")[:FRAMES:EVERY] for name in NAMES]
    both = [
        Image.fromarray(np.concatenate(rows)).reduce(SHRINK) for rows in zip(*videos, strict=True)
    ]
    palette = both[-1].quantize(COLOURS, dither=Image.Dither.NONE)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in both)
    first.save(
        PICTURE, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, optimize=True
    )
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
