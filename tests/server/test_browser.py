"""The real frontend in a real Chromium."""

import json
from pathlib import Path

import api_workflows as workflows
import pytest
from comfy_home import PACK

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"there is no Chromium at {CHROMIUM}")

PATCH = """([graph, small]) => {
  for (const node of graph.nodes) {
    const values = small[node.type]
    for (const [name, value] of Object.entries(values ?? {})) {
      const names = Object.keys(node.widgets_values_named ?? {})
      const index = names.indexOf(name)
      if (index < 0) throw new Error(`${node.type} has no ${name} among ${names}`)
      node.widgets_values[index] = value
      node.widgets_values_named[name] = value
    }
  }
  return app.loadGraphData(graph).then(() => true)
}"""


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(str(PACK / "scripts"))
    import build_workflows

    return build_workflows


def test_load_run_and_see(server, build, tmp_path):
    from playwright.sync_api import sync_playwright

    graph = json.loads((PACK / "workflows" / "follow_your_canvas_single_round.json").read_text())
    with sync_playwright() as playwright:
        page = build.open_frontend(playwright, server.url)
        page.evaluate(PATCH, [graph, workflows.SMALL | {"CanvasTiledSampler": {"steps": 3, "seed": 4321}}])
        page.wait_for_timeout(500)
        with page.expect_response("**/api/prompt") as queued:
            page.get_by_role("button", name="Run", exact=True).first.click()
        assert queued.value.ok
        page.wait_for_function(
            "() => Object.values(app.nodeOutputs ?? {}).some((o) => o.animated?.[0])", timeout=120_000
        )
        page.wait_for_timeout(1500)
        shot = PACK / "output" / "browser.png"
        shot.parent.mkdir(exist_ok=True)
        page.screenshot(path=shot)
        previews = page.evaluate(
            "() => Object.values(app.nodeOutputs).flatMap((o) => o.images ?? []).map((i) => i.filename)"
        )
    assert any(name.endswith(".mp4") for name in previews)
    assert any(name.endswith(".png") for name in previews)  # Canvas Preview
    assert shot.stat().st_size > 50_000


def test_committed_workflows_are_what_the_frontend_makes(build, tmp_path):
    build.build(tmp_path, pictures=False)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("workflows/**/*.json"))
    assert made == sorted(path.relative_to(PACK) for path in (PACK / "workflows").glob("**/*.json"))
    for path in made:
        assert json.loads((tmp_path / path).read_text()) == json.loads((PACK / path).read_text()), (
            f"{path} differs; run scripts/build_workflows.py"
        )
    for name in workflows.NAMES:
        assert (PACK / "workflows" / f"{name}.jpg").is_file()


def test_every_node_stands_in_a_workflow():
    used = {node["class_type"] for name in workflows.NAMES for node in workflows.load(name).values()}
    locale = json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text())
    assert set(locale) <= used


def test_workflows_use_core_and_this_pack_only():
    clip, still = {"LoadVideo", "GetVideoComponents", "CreateVideo", "SaveVideo"}, {"LoadImage", "SaveImage"}
    for name in workflows.NAMES:
        kinds = {node["class_type"] for node in workflows.load(name).values()}
        assert (still if name.endswith("_still") else clip) <= kinds
        graph = json.loads((PACK / "workflows" / f"{name}.json").read_text())
        notes = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
        files = {
            value
            for node in workflows.load(name).values()
            for value in node["inputs"].values()
            if isinstance(value, str) and value.endswith((".safetensors", ".pth"))
        }
        assert files
        assert all(any(file in note for note in notes) for file in files)
