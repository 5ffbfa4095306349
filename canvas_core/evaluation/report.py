"""The evaluation as files: tables in Markdown and pictures to look at."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..atomic_write import write_whole
from ..drawing.contact_sheet import contact_sheet
from ..errors import CanvasError, VideoError
from ..media.pictures import read_picture, write_picture
from ..pixels.placing import place_source
from ..plan.boxes import Size
from ..progress import Watch, unwatched
from .bars import Bar, bars
from .camera import CameraRow, camera_means, camera_rows
from .protocol import BASELINES, SHARES, SIZE, TRUTH, Outpaint, Row, cuts, evaluate, hide_sides, means

SOURCE = "source"
DRAWN = ("telea", "cone", "cone + detail")
"""Baselines on the pictures."""

MOMENTS = 4
"""Frames of the picture over time."""


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


FIGURES = (
    "PSNR", "SSIM", "luma 1 (finest)", "luma 2", "luma 3", "luma 4", "chroma", "chroma 1", "seam", "flicker", "known error",
)  # fmt: skip


def figures(row: Row) -> list[str]:
    """The columns FIGURES of a row."""
    found, bands = row.measures, row.bands
    ratios = [*bands.luma, bands.chroma, bands.chroma_fine, found.seam, found.flicker]
    return [f"{found.psnr:.2f}", f"{found.ssim:.3f}", *(f"{ratio:.2f}" for ratio in ratios), f"{found.known_error:.3g}"]


def means_table(rows: Sequence[Row]) -> str:
    """Means over the clips, one line for each share and method."""
    lines = [[f"{row.share:g}", row.method, *figures(row)] for row in means(rows)]
    return table(["hidden", "method", *FIGURES], lines)


def clips_table(rows: Sequence[Row]) -> str:
    """One line for each row."""
    lines = [[row.clip, f"{row.share:g}", row.method, *figures(row)] for row in rows]
    return table(["clip", "hidden", "method", *FIGURES], lines)


def camera_table(rows: Sequence[CameraRow]) -> str:
    """Means over the pictures."""
    lines = [
        [f"{row.share:g}", row.method, *(f"{value:.2f}" for value in (*row.gain, row.gain.gain))]
        for row in camera_means(rows)
    ]
    return table(["hidden", "method", "seen, dB", "unseen, dB", "seen, all", "unseen, all", "gain, dB"], lines)


def bars_table(found: Sequence[Bar]) -> str:
    """One line for each bar."""
    lines = [
        [
            bar.method,
            f"{bar.share:g}",
            bar.name,
            f"{bar.figure:.3f}",
            f"{bar.low:g} to {bar.high:g}",
            "pass" if bar.passed else "**fail**",
            f"{bar.lowest:.3f} to {bar.highest:.3f}",
        ]
        for bar in found
    ]
    return table(["method", "hidden", "bar", "mean", "wanted", "", "over the clips"], lines)


REMARKS = """Figures of the hidden area only. Bands: energy over the truth's, finest first, 1 = the same, geometric mean over
the clips, where every cut counts once; chroma 1 is the finest chroma band. Seam: step across the border over its surroundings. Flicker: energy of
frame differences over the truth's. Known error: largest difference on known pixels, 0..1."""

CAMERA_REMARKS = """Pans over still pictures: hidden pixels that another frame shows, and those that none shows, at equal
distances from the border; then over all of them. The cone looks at one frame only: its gain is what the pictures
themselves give."""


def report(rows: Sequence[Row], gains: Sequence[CameraRow], found: Sequence[Bar]) -> str:
    """The whole evaluation as Markdown."""
    clips = list(dict.fromkeys(row.clip for row in rows))
    parts = [f"# Evaluation\n\n{len(clips)} cuts: {', '.join(clips)}. {REMARKS}", means_table(rows)]
    if found:
        failed = sum(not bar.passed for bar in found)
        parts += [f"## Bars\n\n{len(found) - failed} of {len(found)} are reached.", bars_table(found)]
    if gains:
        parts += [f"## Moving camera\n\n{CAMERA_REMARKS}", camera_table(gains)]
    return "\n\n".join([*parts, "## Clips", clips_table(rows)]) + "\n"


class Album:
    """Collects pictures of the results as they come and puts them together; a Keep for `evaluate`."""

    def __init__(self) -> None:
        self.moments: dict[tuple[str, float, str], list[np.ndarray]] = {}

    def __call__(self, clip: str, share: float, method: str, frames: torch.Tensor) -> None:
        """Keep the middle frame and MOMENTS frames over time, [H, W, 3] uint8; the grey source beside the truth."""
        if method in BASELINES and method not in DRAWN:
            return
        if method == TRUTH:
            box = hide_sides(Size(*frames.shape[1:3]), share).source
            known = frames[:, box.y : box.bottom, box.x : box.right]
            self(clip, share, SOURCE, place_source(known, Size(*frames.shape[1:3]), box))
        places = [len(frames) // 2, *np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int).tolist()]
        self.moments[(clip, share, method)] = [
            (frames[place].clamp(0, 1).numpy() * 255).round().astype(np.uint8) for place in places
        ]

    def _methods(self) -> list[str]:
        found = list(dict.fromkeys(method for _, _, method in self.moments))
        inner = [method for method in found if method not in (SOURCE, TRUTH)]
        return [SOURCE, *inner, TRUTH]

    def clips_sheet(self, share: float) -> np.ndarray:
        """Rows are clips, columns methods, each the middle frame."""
        clips = list(dict.fromkeys(clip for clip, _, _ in self.moments))
        columns = {method: [self.moments[(clip, share, method)][0] for clip in clips] for method in self._methods()}
        return contact_sheet(columns, clips)

    def time_sheet(self, clip: str, share: float) -> np.ndarray:
        """Rows are moments of one clip, columns methods."""
        columns = {method: self.moments[(clip, share, method)][1:] for method in self._methods()}
        return contact_sheet(columns, [f"{clip} {moment}/{MOMENTS}" for moment in range(1, MOMENTS + 1)])


def _by_name(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for part in parts:
        for name, tensor in part.items():
            if name in found:
                raise VideoError(f"two files are called {name}, so their figures could not be told apart; rename one")
            found[name] = tensor
    return found


def evaluate_files(
    methods: Mapping[str, Outpaint],
    paths: Sequence[str | Path],
    pictures: Sequence[str | Path],
    output_folder: str | Path,
    drafts: Collection[str] = (),
    shares: Sequence[float] = SHARES,
    size: int = SIZE,
    references: Mapping[str, Outpaint] | None = None,
    watch: Watch = unwatched,
) -> list[Bar]:
    """Evaluate methods on video files and pans over picture files; returns the bars.

    Writes `evaluation.md`, and for each share `clips_<share>.png` and `time_<share>.png` (the first clip), into the
    folder. `size` is the side of the cuts in pixels; `drafts` names the methods that answer for the draft bars;
    `references` are run beside the methods and answer for nothing. Raises CanvasError when a file cannot be used.
    """
    runs = {**(references or {}), **methods}
    folder = Path(output_folder)
    if not folder.is_dir():
        raise CanvasError(f"there is no folder {folder} to write the evaluation into; create it first")
    if not paths:
        raise VideoError("there are no videos to evaluate on; give at least one")
    clips = _by_name([cuts(path, size=size) for path in paths])
    album = Album()
    rows = evaluate(runs, clips, shares, album, watch)
    still = _by_name([{Path(path).stem: read_picture(path)} for path in pictures])
    gains = camera_rows({"cone": BASELINES["cone"], **runs}, still, shares, size, watch)
    found = [bar for bar in bars(rows, gains, drafts) if bar.method in methods]
    text = report(rows, gains, found)
    write_whole(folder / "evaluation.md", lambda path: path.write_text(text, encoding="utf-8"), CanvasError)
    for share in shares:
        write_picture(folder / f"clips_{share:g}.png", album.clips_sheet(share))
        write_picture(folder / f"time_{share:g}.png", album.time_sheet(next(iter(clips)), share))
    return found
