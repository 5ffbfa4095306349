"""One loop over steps and one tiled prediction: denoising, fusing windows, guidance formulas and noise. Nothing here knows a system."""
