"""Time of a UNet forward pass with SDPA against explicit softmax attention.

python bench/attention_time.py
"""

import time
from functools import partial

import torch
from common import CONFIG, DEVICE, FRAMES, WINDOW, make_unet

from canvas_core.networks.layers import Attend, attend

REPEATS = 5


def explicit(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """Softmax attention written out."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def seconds(forward: object) -> float:
    """Shortest of several runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        forward()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


@torch.inference_mode()
def main() -> None:
    """Print both times, their ratio and the difference of the results."""
    unet = make_unet()
    place = partial(torch.randn, device=DEVICE)
    x, text, layout = (
        place(FRAMES, 9, 2 * WINDOW, 2 * WINDOW),
        place(1, 77, CONFIG.text_width),
        place(1, 64, CONFIG.layout_width),
    )
    timestep, fps, region = (torch.tensor(value, device=DEVICE) for value in ([500], [8], [[0, 0, 512, 512, 512, 512]]))

    def run(attention: Attend) -> torch.Tensor:
        return unet(x, timestep, text, layout, fps, region, attend=attention)

    difference = (run(attend) - run(explicit)).abs().max().item()
    fused, written = seconds(lambda: run(attend)), seconds(lambda: run(explicit))
    print(f"device                 {DEVICE}")
    print(f"SDPA                   {fused * 1000:.1f} ms")
    print(f"explicit softmax       {written * 1000:.1f} ms")
    print(f"ratio                  {fused / written:.3f}, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
