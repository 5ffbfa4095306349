"""Follow-Your-Canvas under ComfyUI, and the built-in model, which is a configuration of it:
the MODEL, its conditioning, the layout encoder, text + layout guidance and rounds as a graph."""
