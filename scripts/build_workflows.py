"""Rebuild the reference workflows and the pictures of the nodes in a real ComfyUI frontend.

    python scripts/build_workflows.py [folder]

writes workflows/*.json, workflows/api/*.json, their pictures and web/docs/images/*.png below `folder` (default: the pack).
Needs ComfyUI (COMFYUI_PATH or ~/comfy/ComfyUI), Playwright and Chromium at /usr/bin/chromium.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

PACK = Path(__file__).parents[1]
sys.path[:0] = [str(PACK), str(PACK / "scripts"), str(PACK / "tests" / "support")]

from comfy_home import find_comfyui  # noqa: E402
from comfy_server import running  # noqa: E402
from plans import PLANS, Plan, any_model, follow_your_canvas, m3ddm, quick_start  # noqa: E402
from plans.parts import CLIP_FILE  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
READY = (
    '!!(window.app && window.app.graph && window.LiteGraph && window.LiteGraph.registered_node_types["CanvasExpand"])'
)
BARE = """
body * { visibility: hidden }
#graph-canvas, .dom-widget, .dom-widget * { visibility: visible }
"""
FILES = (
    f"models/diffusion_models/{follow_your_canvas.CANVAS_FILE}",
    f"models/diffusion_models/{m3ddm.MODEL_FILE}",
    f"models/sams/{follow_your_canvas.SAM_FILE}",
    f"models/text_encoders/{follow_your_canvas.TEXT_FILE}",
    f"models/vae/{follow_your_canvas.VAE_FILE}",
    f"models/vae/{m3ddm.VAE_FILE}",
    f"models/checkpoints/{any_model.INPAINT_FILE}",
    f"input/{CLIP_FILE}",
    f"input/{quick_start.LONG_CLIP_FILE}",
)


def open_frontend(playwright: Any, url: str) -> Page:
    """A page with the frontend loaded and its first dialog closed."""
    page = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS).new_page(
        viewport={"width": 1600, "height": 1000}
    )
    page.goto(url)
    page.wait_for_function(READY, timeout=60_000)
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")
    return page


def name_files(root: Path, base: Path) -> None:
    """Empty files of the right names, so that the frontend offers them, and the picture that ComfyUI brings along."""
    for name in FILES:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    shutil.copy(root / "input" / quick_start.PICTURE_FILE, base / "input")


def normalise(workflow: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the run, the screen or the version of the frontend."""
    workflow["id"] = str(UUID(int=0))
    workflow["extra"] = {}
    return workflow


def picture(page: Page, path: Path, left: float, top: float, width: float, height: float, scale: float) -> None:
    """A picture of part of the graph, in graph coordinates."""
    page.set_viewport_size({"width": round(width * scale), "height": round(height * scale)})
    page.evaluate(
        "([x, y, s]) => { const c = app.canvas; c.show_info = false; c.ds.scale = s; c.ds.offset = [-x, -y]; c.setDirty(true, true) }",
        [left, top, scale],
    )
    page.wait_for_timeout(800)
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"type": "jpeg", "quality": 88} if path.suffix == ".jpg" else {}
    page.screenshot(path=path, **options)


def build_workflow(page: Page, plan: Plan, target: Path, pictures: bool) -> None:
    """Write one workflow in both forms, and its picture."""
    built = page.evaluate((PACK / "scripts" / "build_graph.js").read_text(), asdict(plan))
    for path, content in (
        (target / f"{plan.name}.json", normalise(built["workflow"])),
        (target / "api" / f"{plan.name}.json", built["output"]),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if pictures:
        width, height = built["extent"]
        picture(page, target / f"{plan.name}.jpg", 0, 0, width, height, 0.75)


def picture_nodes(page: Page, target: Path) -> None:
    """One picture for each node's help page."""
    names = page.evaluate(
        "() => Object.keys(LiteGraph.registered_node_types).filter((name) => name.startsWith('Canvas'))"
    )
    for name in names:
        width, height = page.evaluate(
            """(name) => { app.graph.clear(); app.graph.id = crypto.randomUUID(); const n = LiteGraph.createNode(name); app.graph.add(n); n.pos = [20, 50]; n.showAdvanced = true;
            n.setSize([340, n.computeSize()[1]]); return n.size }""",
            name,
        )
        picture(page, target / f"{name}.png", 0, 0, width + 40, height + 70, 1.25)


def build(target: Path, pictures: bool = True) -> None:
    """Build everything below `target`."""
    root = find_comfyui()
    if root is None or not CHROMIUM.is_file():
        sys.exit(
            f"ComfyUI is {root}, Chromium {CHROMIUM if CHROMIUM.is_file() else 'missing'}; both are needed to build workflows"
        )
    base = Path(tempfile.mkdtemp(prefix="video-canvas-"))
    name_files(root, base)
    try:
        with running(root, base) as server, sync_playwright() as playwright:
            page = open_frontend(playwright, server.url)
            if pictures:
                page.add_style_tag(content=BARE)
            for plan in PLANS:
                build_workflow(page, plan, target / "workflows", pictures)
            if pictures:
                picture_nodes(page, target / "web" / "docs" / "images")
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else PACK)
