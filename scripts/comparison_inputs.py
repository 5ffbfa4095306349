"""Make the inputs of compare_checkouts.py: small random models of every kind, and a clip.

PYTHONPATH=CHECKOUT:CHECKOUT/tests/support python -P scripts/comparison_inputs.py FOLDER
"""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import tiny

WIDTH, HEIGHT, FRAMES = 64, 48, 33


def write_clip(path: Path) -> None:
    """A lossless clip of a picture that passes by, with a little noise."""
    y, x = np.mgrid[:HEIGHT, : WIDTH + 2 * FRAMES]
    picture = np.stack([np.sin(x / 5 + y / 9), np.cos(y / 4), np.sin(x / 3) * np.cos(y / 7)], axis=-1)
    noise = np.random.default_rng(0).random(picture.shape)
    levels = np.uint8((picture * 0.3 + 0.4 + 0.2 * noise) * 255)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(12))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for t in range(FRAMES):
            shown = np.ascontiguousarray(levels[:, 2 * t : 2 * t + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())


def main() -> None:
    """Write everything into a new folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    tiny.write_checkpoint(folder / "canvas.safetensors")
    tiny.write_m3ddm(folder / "m3ddm")
    tiny.write_base(folder / "base")
    tiny.write_sam(folder / "sam.pth")
    write_clip(folder / "clip.mkv")


if __name__ == "__main__":
    main()
