"""Video outpainting to any size and length. Stands alone: nothing here imports ComfyUI."""
