"""Socket types of our own. Everything else is core's."""

from comfy_api.latest import io

Canvas = io.Custom("CANVAS")
Windows = io.Custom("CANVAS_WINDOWS")
LayoutEncoder = io.Custom("CANVAS_LAYOUT_ENCODER")
Levels = io.Custom("CANVAS_LEVELS")

CATEGORY = "video/outpaint"
