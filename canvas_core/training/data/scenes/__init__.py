"""Rendered scenes: what stands in them, how it looks and how the camera sees it."""
