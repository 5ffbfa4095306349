"""The tiled prediction against an obvious loop, however the windows are grouped and evaluated."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from canvas_core.plan.boxes import Size
from canvas_core.plan.windows import WindowSettings, frame_weights
from canvas_core.sampling.tiling import Window, predict_canvas

FRAMES, H, W = 11, 13, 17
TIME = torch.tensor(321)
WINDOWS = WindowSettings(64, 16, frames=5, frame_overlap=2)
WHOLE = WindowSettings(256, 64, frames=16, frame_overlap=0)


def noise(frames=FRAMES, h=H, w=W):
    return torch.randn(frames, 3, h, w, generator=torch.Generator().manual_seed(frames))


class Bent:
    """A clip with two branches, whose answer depends on where a window lies. Notes how many windows it is asked for."""

    start = None

    def __init__(self):
        self.asked = []

    def predict(self, x, time, windows):
        self.asked.append(len(windows))
        return torch.stack([torch.stack([bend(*pair, time) for pair in zip(x, windows, strict=True)]), x * 0.3])

    def combine(self, parts):
        return parts[1] + 3 * (parts[0] - parts[1])


def bend(x, window, time):
    return torch.sin(x + window.span.start) * window.box.y + torch.cos(x - time / 1000) * window.box.x


def obvious(settings, x):
    """Crop, weigh, add, divide."""
    total, norm = x.double() * 0, x.double() * 0
    for span in settings.plan_frames(len(x)):
        for box in settings.plan(Size(*x.shape[-2:])).windows:
            place = slice(span.start, span.stop), slice(None), slice(box.y, box.y + box.h), slice(box.x, box.x + box.w)
            one, other = bend(x[place], Window(span, box), TIME), x[place] * 0.3
            weights = frame_weights(settings.frames)[: len(span), None, None, None] * settings.weigh(box.size)
            total[place] += weights * (other + 3 * (one - other))
            norm[place] += weights
    return total / norm


@pytest.mark.parametrize("at_once", [1, 3, 99])
@pytest.mark.parametrize(
    ("frames", "settings"),
    [
        (11, WINDOWS),
        (5, WINDOWS),
        (3, WINDOWS),
        (11, WindowSettings(Size(48, 64), 24, "official", "official", 4, 1)),
        (7, WindowSettings(256, 64, frames=3, frame_overlap=1)),
    ],
    ids=["spans", "one span", "short", "official", "one window"],
)
def test_windows_are_fused_as_by_a_loop(frames, settings, at_once):
    clip, x = Bent(), noise(frames)
    found = predict_canvas(clip, settings, x, TIME, at_once)
    assert (found - obvious(settings, x)).abs().max() < 1e-4
    boxes, spans = len(settings.plan(Size(H, W)).windows), len(settings.plan_frames(frames))
    groups = [min(at_once, boxes - first) for first in range(0, boxes, at_once)]
    assert clip.asked == groups * spans


def test_there_are_several_windows_and_spans():
    assert len(WINDOWS.plan(Size(H, W)).windows) > 3 and len(WINDOWS.plan_frames(FRAMES)) > 2


@pytest.mark.parametrize("at_once", [1, 3, 99])
def test_evaluations_at_the_same_time_change_nothing(at_once):
    x = noise()
    with ThreadPoolExecutor(3) as pool:
        found = predict_canvas(Bent(), WINDOWS, x, TIME, at_once, pool.map)
    assert torch.equal(found, predict_canvas(Bent(), WINDOWS, x, TIME, at_once))


def test_evaluations_are_asked_of_the_map_in_the_order_of_spans():
    asked = []

    def noting(ask, groups):
        groups = list(groups)
        asked.extend(window for group in groups for window in group)
        return map(ask, groups)

    predict_canvas(Bent(), WINDOWS, noise(), TIME, 2, noting)
    boxes = WINDOWS.plan(Size(H, W)).windows
    assert asked == [Window(span, box) for span in WINDOWS.plan_frames(FRAMES) for box in boxes]


@pytest.mark.parametrize(("frames", "h", "w"), [(11, 13, 17), (1, 5, 3), (16, 7, 32)])
def test_a_lone_window_of_a_lone_span_comes_back_as_it_is(frames, h, w):
    class Plain(Bent):
        def combine(self, parts):
            return parts[1]

    x = noise(frames, h, w)
    assert torch.equal(predict_canvas(Plain(), WHOLE, x, TIME), x * 0.3)
    assert torch.allclose(predict_canvas(Bent(), WHOLE, x, TIME), x * -0.6, atol=1e-6)  # it lies at 0, 0, 0


def test_a_formula_sees_each_branch_on_the_whole_canvas():
    """Such as a rescaling by the deviation of a branch."""
    seen = []

    class Rescaled(Bent):
        def combine(self, parts):
            seen.append(parts)
            return parts[0] * parts[1].std() / parts[0].std()

    class Branch(Bent):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def combine(self, parts):
            return parts[self.number]

    x = noise()
    found = predict_canvas(Rescaled(), WINDOWS, x, TIME, 2)
    one, other = (predict_canvas(Branch(number), WINDOWS, x, TIME, 2) for number in (0, 1))
    assert len(seen) == 1 and seen[0].shape == (2, *x.shape)
    assert torch.equal(found, one * other.std() / one.std())


@pytest.mark.parametrize("span", WINDOWS.plan_frames(FRAMES), ids=str)
def test_a_window_crops_its_frames_and_cells(span):
    x = noise()
    for box in WINDOWS.plan(Size(H, W)).windows:
        view = Window(span, box).crop(x)
        assert torch.equal(view, x[list(span)][..., box.y : box.bottom, box.x : box.right])
        assert view.data_ptr() == x[span.start, 0, box.y, box.x :].data_ptr()


def test_what_is_given_stays_as_it_is():
    x = noise()
    predict_canvas(Bent(), WINDOWS, x, TIME, 3)
    assert torch.equal(x, noise())
