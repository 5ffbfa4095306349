"""Zeros: a system that thinks every latent is nothing. Copied to `canvas_core/systems/zeros` by a test and by the walk-through."""
