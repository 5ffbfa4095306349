"""The training loop: one task, any number of devices, and legs that continue exactly where the last one ended.

Every random number follows from the seed and the step, so a state needs weights and optimiser moments alone.
"""

import copy
import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..atomic_write import write_whole
from ..errors import TrainingError
from .state import load_state, newest_state, save_state


class Task(Protocol):
    """What is trained: networks, batches that depend on their step alone, and a loss."""

    networks: nn.Module

    def batches(self) -> Dataset[Any]:
        """A dataset whose item i is the whole batch of step i."""

    def loss(self, networks: nn.Module, batch: Any, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Scalar loss, and figures for the log."""

    def show(self, networks: nn.Module, path: Path) -> None:
        """Write a sample sheet."""

    def export(self, networks: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the networks as the files that are shipped."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    learning_rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    final_rate: float = 0.02
    """Learning rate at the end of the cosine, as a share of the highest"""
    save_every: int = 500
    show_every: int = 1000
    log_every: int = 50
    workers: int = 1
    mixed_precision: str = "bf16"

    def rate(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, then half a cosine."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        done = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        low = self.final_rate
        return self.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)


def channels_last(network: nn.Module) -> nn.Module:
    """The network with convolution weights laid out as CPUs and tensor cores like them."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Average:
    """Exponential moving average of a network's parameters; young averages follow faster."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.tensors = {name: value.detach().clone().float() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            self.tensors[name].lerp_(value.detach().float(), 1 - decay)


class Trainer:
    """Runs a task in a folder: `state/` to continue from, `log.csv`, `sheets/`, and the exported files."""

    def __init__(self, task: Task, schedule: Schedule, folder: Path, seed: int):
        self.task, self.schedule, self.folder, self.seed = task, schedule, folder, seed
        set_seed(seed)
        self.accelerator = Accelerator(mixed_precision=schedule.mixed_precision)
        optimiser = torch.optim.AdamW(
            task.networks.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self.networks, self.optimiser = self.accelerator.prepare(task.networks, optimiser)
        self.average = Average(self._bare(), schedule.ema)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def _bare(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.networks)

    def run(
        self, minutes: float | None = None, report: Callable[[str], None] = print, until: int | None = None
    ) -> bool:
        """Train until the schedule ends, `minutes` are over or step `until` is reached. True when the schedule is done."""
        steps = self.schedule.steps if until is None else min(until, self.schedule.steps)
        end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        began, first = time.monotonic(), self.step
        for batch in self._batches(steps):
            figures = self._update(batch)
            self.step += 1
            last = self.step >= steps or time.monotonic() > end
            if self.step % self.schedule.log_every == 0 and self.accelerator.is_main_process:
                pace = (time.monotonic() - began) / (self.step - first)
                self._log(figures, pace)
                report(f"step {self.step} of {self.schedule.steps}, loss {figures['loss']:.4f}, {pace:.2f} s a step")
            if self.step % self.schedule.save_every == 0 or last:
                self.save()
            if self.step % self.schedule.show_every == 0 or last:
                self.show()
            if last:
                break
        self.export()
        return self.step >= self.schedule.steps

    def _batches(self, steps: int) -> Iterator[Any]:
        count, rank = self.accelerator.num_processes, self.accelerator.process_index
        order = range(self.step * count + rank, steps * count, count)
        loader = DataLoader(
            self.task.batches(),
            batch_size=None,
            sampler=order,
            num_workers=self.schedule.workers,
            prefetch_factor=4 if self.schedule.workers else None,
            # A forked worker would inherit the locks of OpenCV's threads and wait for them for ever.
            multiprocessing_context="spawn" if self.schedule.workers else None,
        )
        return iter(loader)

    def _update(self, batch: Any) -> dict[str, float]:
        rate = self.schedule.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}
        with self.accelerator.autocast():
            loss, figures = self.task.loss(self.networks, batch, self.step)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss at step {self.step} is {loss.item()}; go on from the last state with a lower learning_rate"
            )
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.networks.parameters(), self.schedule.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.average.update(self._bare(), self.step)
        return {"loss": loss.item(), "rate": rate, "norm": float(norm), **figures}

    def averaged(self) -> nn.Module:
        """The networks with averaged weights, in evaluation mode; the trained ones stay as they are."""
        network = copy.deepcopy(self._bare())
        network.load_state_dict(self.average.tensors)
        return network.eval().requires_grad_(False)

    def show(self) -> None:
        """Write a sample sheet of the averaged networks."""
        if self.accelerator.is_main_process:
            (self.folder / "sheets").mkdir(exist_ok=True)
            self.task.show(self.averaged(), self.folder / "sheets" / f"{self.step:08d}.png")

    def export(self) -> None:
        """Write the averaged networks as the files that are shipped."""
        if self.accelerator.is_main_process:
            self.task.export(self.averaged(), self.folder, {"steps": self.step, "seed": self.seed})

    def _log(self, figures: dict[str, float], pace: float) -> None:
        row = {
            "step": self.step,
            "seconds": round(pace, 4),
            **{name: f"{value:.6g}" for name, value in figures.items()},
        }
        fresh = not self._log_file.exists()
        with self._log_file.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    @property
    def _log_file(self) -> Path:
        return self.folder / "log.csv"

    def _cut_log(self) -> None:
        """Drop the rows after the state that is gone on from: they will be written again."""
        if self._log_file.exists() and self.accelerator.is_main_process:
            head, *rows = self._log_file.read_text().splitlines(keepends=True)
            kept = [row for row in rows if int(row.split(",")[0]) <= self.step]
            write_whole(self._log_file, lambda path: path.write_text("".join([head, *kept])), TrainingError)

    def save(self) -> None:
        """Write a state to continue from."""
        if not self.accelerator.is_main_process:
            return
        weights = {f"weights.{name}": value for name, value in self._bare().state_dict().items()}
        average = {f"average.{name}": value for name, value in self.average.tensors.items()}
        moments = {
            f"moments.{index}.{name}": value
            for index, values in self.optimiser.state_dict()["state"].items()
            for name, value in values.items()
        }
        save_state(self.folder / "state", self.step, {**weights, **average, **moments}, {"seed": self.seed})

    def _resume(self) -> None:
        state = newest_state(self.folder / "state")
        if state is None:
            return
        tensors, facts = load_state(state)
        if facts["seed"] != self.seed:
            raise TrainingError(
                f"{state} was trained with seed {facts['seed']}, but the configuration says {self.seed}; use another folder or that seed"
            )
        try:
            self._bare().load_state_dict(_below(tensors, "weights."))
        except RuntimeError as error:
            raise TrainingError(
                f"{state} does not fit the configuration ({str(error).splitlines()[1].strip()}); use another folder"
            ) from None
        self.average.tensors = {name: value.float() for name, value in _below(tensors, "average.").items()}
        self._load_moments(_below(tensors, "moments."))
        self.step = facts["step"]
        self._cut_log()

    def _load_moments(self, moments: dict[str, torch.Tensor]) -> None:
        state = self.optimiser.state_dict()
        for name, value in moments.items():
            index, part = name.split(".", 1)
            state["state"].setdefault(int(index), {})[part] = value
        self.optimiser.load_state_dict(state)


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
