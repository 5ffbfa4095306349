"""Video outpainting to any size and length. Stands alone: nothing here imports ComfyUI."""

__version__ = "0.1.0"
