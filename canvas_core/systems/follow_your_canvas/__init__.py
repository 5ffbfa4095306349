"""Follow-Your-Canvas, and the built-in model, which is a configuration of it."""
