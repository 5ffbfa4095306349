"""Windows as area conditions equal an obvious crop-weight-add loop, in a real ComfyUI."""

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import comfy.sampler_helpers  # noqa: E402
import comfy.samplers  # noqa: E402
import core_models as models  # noqa: E402
from comfy.nested_tensor import NestedTensor  # noqa: E402

windows_adapter = comfy_pack.part("nodes.adapters.windows")
time_adapter = comfy_pack.part("nodes.adapters.time_windows")
sampling_adapter = comfy_pack.part("nodes.adapters.sampling")
errors = comfy_pack.part("canvas_core.errors")
core = comfy_pack.part("canvas_core.plan.windows")
Size = comfy_pack.part("canvas_core.plan.boxes").Size

SAMPLERS = ["euler", "dpmpp_2m", "heun", "uni_pc", "euler_ancestral", "lcm"]
SHAPES = {2: (5, 4, 13, 19), 3: (1, 16, 5, 13, 19)}
SETTINGS = core.WindowSettings(window=64, overlap=16, frames=3, frame_overlap=1)


class LoopGuider(comfy.samplers.CFGGuider):
    """The obvious way: crop, evaluate, weight, add, divide, for each time window and each window."""

    def set_windows(self, settings, time_dim=None):
        self.settings, self.time_dim = settings, time_dim

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        positive, negative = (
            self.fuse([self.conds[name]], x, timestep, model_options) for name in ("positive", "negative")
        )
        return negative + (positive - negative) * self.cfg

    def fuse(self, conds, x, timestep, options):
        total, norm = torch.zeros_like(x), torch.zeros_like(x)
        dim = self.time_dim
        spans = self.settings.plan_frames(x.shape[dim]) if dim is not None else [None]
        for span in spans:
            for box in self.settings.plan(Size(*x.shape[-2:])).windows:
                place = [slice(None)] * (x.ndim - 2) + [slice(box.y, box.bottom), slice(box.x, box.right)]
                weight = self.settings.weigh(box.size)
                if span is not None:
                    place[dim] = slice(span.start, span.stop)
                    frames = core.frame_weights(len(span)).view(-1, *[1] * (x.ndim - 1 - dim))
                    weight = weight * frames
                part = x[tuple(place)]
                sigma = timestep[: part.shape[0]]
                out = comfy.samplers.calc_cond_batch(self.inner_model, conds, part, sigma, options)[0]
                total[tuple(place)] += out * weight
                norm[tuple(place)] += weight
        return total / norm


def run_loop(model, noise, sampler, time_dim=None):
    guider = LoopGuider(model)
    guider.set_conds(models.conditioning(1), models.conditioning(2))
    guider.set_cfg(3.0)
    guider.set_windows(SETTINGS, time_dim)
    return models.sample(model, noise, None, None, sampler, guider=guider)


def run(model, noise, sampler="euler"):
    return models.sample(model, noise, models.conditioning(1), models.conditioning(2), sampler)


def noise_for(dims):
    return torch.randn(SHAPES[dims], generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("dims", SHAPES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_windows_equal_a_loop(sampler, dims):
    model, noise = models.core_model(dims), noise_for(dims)
    tiled = run(windows_adapter.apply_windows(model, SETTINGS), noise, sampler)
    looped = run_loop(model, noise, sampler)
    assert (tiled - looped).abs().max() < 1e-4 * looped.abs().max()
    assert (run(model, noise, sampler) - looped).abs().max() > 1e-2  # windows do change the result


def test_space_and_time_compose_in_any_order():
    model, noise = models.core_model(), noise_for(2)
    one = windows_adapter.apply_windows(time_adapter.apply_time_windows(model, SETTINGS), SETTINGS)
    other = time_adapter.apply_time_windows(windows_adapter.apply_windows(model, SETTINGS), SETTINGS)
    assert torch.equal(run(one, noise), run(other, noise))
    looped = run_loop(model, noise, "euler", time_dim=0)
    assert (run(one, noise) - looped).abs().max() < 1e-4 * looped.abs().max()


def test_space_and_time_compose_on_video_latents():
    model, noise = models.core_model(3), torch.randn(1, 16, 9, 13, 19, generator=torch.Generator().manual_seed(3))
    settings = core.WindowSettings(window=64, overlap=16, frames=17, frame_overlap=8)  # 5 and 2 latent frames
    one = windows_adapter.apply_windows(time_adapter.apply_time_windows(model, settings), settings)
    other = time_adapter.apply_time_windows(windows_adapter.apply_windows(model, settings), settings)
    assert one.model_options["context_handler"].context_length == 5
    assert one.model_options["context_handler"].context_overlap == 2
    assert torch.equal(run(one, noise), run(other, noise))


def test_time_windows_are_those_we_plan():
    handler = time_adapter.apply_time_windows(models.core_model(), SETTINGS).model_options["context_handler"]
    for total in (1, 3, 4, 7, 20):
        planned = [list(span) for span in SETTINGS.plan_frames(total)]
        assert handler.context_schedule.func(total, handler, {}) == planned


@pytest.mark.parametrize("dims", SHAPES)
def test_batching_windows_changes_nothing(dims):
    model, noise = models.core_model(dims), noise_for(dims)
    results = [run(windows_adapter.apply_windows(model, SETTINGS, count), noise) for count in (0, 1, 3)]
    for result in results[1:]:
        assert (result - results[0]).abs().max() < 1e-5 * results[0].abs().max()


@pytest.mark.parametrize("count", [1, 2])
def test_windows_at_once_limits_the_batch(count):
    model, noise, seen = models.core_model(), noise_for(2), []
    patched = windows_adapter.apply_windows(model, SETTINGS, count)
    patched.add_wrapper_with_key(
        "apply_model",
        "count",
        lambda executor, x, *args, **kwargs: (seen.append(len(x)), executor(x, *args, **kwargs))[1],
    )
    run(patched, noise)
    assert max(seen) == count * 2 * len(noise)  # positive and negative


def test_applying_twice_replaces_the_first():
    model, noise = models.core_model(), noise_for(2)
    other = core.WindowSettings(window=96, overlap=32)
    twice = windows_adapter.apply_windows(windows_adapter.apply_windows(model, other), SETTINGS)
    assert torch.equal(run(twice, noise), run(windows_adapter.apply_windows(model, SETTINGS), noise))


def test_a_canvas_of_one_window_is_untouched():
    model, noise = models.core_model(), noise_for(2)
    assert torch.equal(
        run(windows_adapter.apply_windows(model, core.WindowSettings(window=512)), noise), run(model, noise)
    )


def packed():
    """Video and its sound, as core joins them."""
    return NestedTensor([torch.zeros(SHAPES[3]), torch.zeros(1, 8, 25)])


def test_packed_video_and_sound_are_refused_before_anything_is_loaded(monkeypatch):
    guider = comfy.samplers.CFGGuider(windows_adapter.apply_windows(models.core_model(3), SETTINGS))
    guider.set_conds(models.conditioning(1), models.conditioning(2))
    monkeypatch.setattr(comfy.sampler_helpers, "_prepare_sampling", None)
    with pytest.raises(errors.SamplingError, match=r"of shape \[1, 1, 19960\], .* cannot cut packed audio and video"):
        guider.sample(packed(), packed(), comfy.samplers.sampler_object("euler"), torch.tensor([1.0, 0.5, 0.0]))


def test_a_packed_row_is_refused_in_the_middle_of_sampling_too():
    wrapper = windows_adapter.SpatialWindows(SETTINGS, 0, 8, 1)
    with pytest.raises(errors.SamplingError, match="sample the video alone"):
        wrapper.calc_cond_batch(None, None, [], torch.zeros(1, 1, 99), torch.ones(1), {})


def test_the_tiled_sampler_refuses_packed_streams():
    with pytest.raises(errors.SamplingError, match="the latent is 2 packed streams, .* sample without windows"):
        sampling_adapter.sample_tiled(
            None, None, None, {"samples": packed()}, SETTINGS, 0, 1, 1.0, "euler", "normal", 1.0
        )


def test_memory_is_asked_for_one_window():
    model, noise, asked = models.core_model(), noise_for(2), []
    required = model.model.memory_required
    model.model.memory_required = lambda shape, **kwargs: (asked.append(list(shape)), required(shape, **kwargs))[1]
    run(windows_adapter.apply_windows(model, SETTINGS), noise)
    assert [shape[-2:] for shape in asked[:2]] == [[8, 8], [8, 8]]


def half(left=True):
    mask = torch.zeros(1, 13 * 8, 19 * 8)
    mask[..., : 9 * 8] = 1
    return mask if left else 1 - mask


REGIONS = {
    "masks": [({"mask": half()}, 1), ({"mask": half(False), "mask_strength": 0.7}, 4)],
    "overlapping masks": [({"mask": half()}, 1), ({"mask": half() * 0.3 + 0.2}, 4), ({}, 6)],
    "area": [({"area": (8, 11, 2, 3), "strength": 0.6}, 1), ({}, 4)],
    "default": [({"mask": half()}, 1), ({"default": True}, 4)],
    "area and default": [({"area": (8, 11, 2, 3)}, 1), ({"default": True}, 4)],
    "default over nothing": [({}, 1), ({"default": True}, 4)],
    "inactive": [({"mask": half(), "timestep_start": -1.0}, 1), ({}, 4)],
}


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.filterwarnings("ignore")
def test_regions_of_a_prompt_mean_what_they_mean_without_windows(name):
    """A network that sees single cells cannot tell windows from the whole, whatever the conditions."""
    model, noise = models.core_model(kernel=1), noise_for(2)
    positive = [cond for values, seed in REGIONS[name] for cond in models.conditioning(seed, **values)]
    whole = models.sample(model, noise, positive, models.conditioning(2))
    tiled = models.sample(windows_adapter.apply_windows(model, SETTINGS), noise, positive, models.conditioning(2))
    assert (tiled - whole).abs().max() < 1e-4 * whole.abs().max()


def test_values_of_the_latent_s_size_are_cropped():
    """Such as the control video of Wan VACE, [B, n, C, T, h, w], which core leaves whole."""
    from comfy.conds import CONDList, CONDNoiseShape, CONDRegular

    video = torch.arange(13.0 * 19).view(1, 1, 1, 1, 13, 19).expand(1, 2, 3, 5, -1, -1)
    tokens = torch.zeros(1, 7, 19)
    box, canvas = comfy_pack.part("canvas_core.plan.boxes").Box(2, 3, 8, 8), Size(13, 19)
    crop = windows_adapter._crop_cond
    assert torch.equal(crop(CONDRegular(video), box, canvas).cond, video[..., 2:10, 3:11])
    assert [item.shape[-1] for item in crop(CONDList([video, tokens]), box, canvas).cond] == [8, 19]
    for untouched in (CONDNoiseShape(video[:, 0]), CONDRegular(tokens)):
        assert crop(untouched, box, canvas) is untouched


def test_windows_are_conditions_of_their_own():
    """Caches that know conditions by their id must not mix windows up."""
    model, noise, seen = windows_adapter.apply_windows(models.core_model(), SETTINGS, 1), noise_for(2), []

    def keep(executor, x, sigma, concat, context, control, options, **kwargs):
        seen.extend(options["uuids"])
        return executor(x, sigma, concat, context, control, options, **kwargs)

    model.add_wrapper_with_key("apply_model", "keep", keep)
    models.sample(model, noise, models.conditioning(1), models.conditioning(2), steps=2)
    windows = len(SETTINGS.plan(Size(13, 19)))
    assert len(seen) == 2 * 2 * windows
    assert len(set(seen)) == 2 * windows


def test_core_is_left_as_it_was():
    import comfy.conds
    import comfy.context_windows
    import comfy.controlnet
    import comfy.model_base
    import comfy.sampler_helpers

    modules = [
        comfy.samplers,
        comfy.conds,
        comfy.context_windows,
        comfy.controlnet,
        comfy.model_base,
        comfy.sampler_helpers,
    ]
    before = [dict(vars(module)) for module in modules]
    model = time_adapter.apply_time_windows(windows_adapter.apply_windows(models.core_model(), SETTINGS), SETTINGS)
    run(model, noise_for(2))
    for module, names in zip(modules, before, strict=True):
        assert {name for name, value in vars(module).items() if names.get(name) is not value} == set()
