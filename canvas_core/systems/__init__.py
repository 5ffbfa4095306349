"""The published systems, a folder each, and what they have in common: the contract, presets, the catalogue and checkpoint files."""
