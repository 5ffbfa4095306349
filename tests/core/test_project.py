"""The project's own files agree with each other."""

import re

import pytest
from comfy_home import PACK

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((PACK / "pyproject.toml").read_text())
REQUIREMENTS = [line for line in (PACK / "requirements.txt").read_text().splitlines() if line.strip()]


def test_requirements_are_the_dependencies():
    assert PROJECT["project"]["dependencies"] == REQUIREMENTS


def test_requirements_have_floors_and_leave_torch_alone():
    for line in REQUIREMENTS:
        name, floor = re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+)", line).groups()
        assert name not in ("torch", "torchvision", "torchaudio", "numpy")
        assert floor


def test_registry_metadata():
    assert PROJECT["tool"]["comfy"]["requires-comfyui"] == ">=0.18.0"
    assert "comfyui" not in PROJECT["project"]["name"]
    assert PROJECT["project"]["version"] in (PACK / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", (PACK / name).read_text()):
        assert (PACK / target).exists(), f"{name} links to {target}"


def test_help_pages_show_existing_pictures():
    pages = sorted((PACK / "web" / "docs").glob("*.md"))
    assert pages
    for page in pages:
        for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name} shows {target}"


def test_no_placeholder_is_left():
    for page in [PACK / "README.md", PACK / "CONTRIBUTING.md", *(PACK / "web" / "docs").glob("*.md")]:
        assert not re.search(r"@[A-Z]+@|TODO|XXX", page.read_text()), page.name
