"""Numeric fixtures made by the systems' official code. Names, sizes and tolerances all come from the files."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

ROOT = Path(os.environ.get("CANVAS_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")
CLIPS = ROOT.parent / "clips"
"""Short real clips."""


@dataclass(frozen=True)
class Fixture:
    """One recorded call: its JSON and the tensors beside it."""

    path: Path

    @cached_property
    def info(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @property
    def kind(self) -> str:
        return self.info["kind"]

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything recorded, `sd.*` taken from `sd_from` where that is named."""
        found: dict[str, torch.Tensor] = {}
        if "sd_from" in self.info:
            found |= {
                key: value
                for key, value in load_file(self.path.parent / self.info["sd_from"]).items()
                if key.startswith("sd.")
            }
        own = self.path.with_suffix(".safetensors")
        for name in self.info.get("files", [own.name] if own.is_file() else []):
            found |= load_file(self.path.parent / name)
        return found

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors below `prefix`, without it."""
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    @cached_property
    def inputs(self) -> dict[str, torch.Tensor]:
        return self.part("in.")

    @cached_property
    def outputs(self) -> dict[str, torch.Tensor]:
        return self.part("out.")

    @property
    def unet_options(self) -> dict[str, Any]:
        """Official UNet configuration, the lender's where the weights are lent."""
        config = self.info.get("config", {})
        if "unet" not in config and "sd_from" in self.info:
            return Fixture(self.path.parent / self.info["sd_from"].replace(".safetensors", ".json")).unet_options
        return config["unet"]

    def check(self, name: str, actual: torch.Tensor) -> None:
        """Compare with out.`name` within the fixture's tolerance."""
        expected = self.outputs[name]
        assert actual.shape == expected.shape, f"{name}: {tuple(actual.shape)} instead of {tuple(expected.shape)}"
        tolerance = self.info.get("tolerance_by_output", {}).get(name, self.info["tolerance"])
        worst = (actual.double() - expected.double()).abs().max().item()
        assert worst <= tolerance, f"{self.path.stem} {name}: off by {worst:.3g}, allowed {tolerance:.3g}"


def fixtures(system: str, root: Path = ROOT) -> list[Fixture]:
    """All fixtures of a system, found by what their JSON says."""
    candidates = (Fixture(path) for path in sorted(root.glob("**/*.json")))
    return [fixture for fixture in candidates if fixture.info.get("system") == system]
