"""M3DDM under ComfyUI:
the MODEL, its conditioning, and context + global guidance."""
