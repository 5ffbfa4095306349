"""What a model is trained on: real clips, pans over pictures and rendered scenes, and how their sides are hidden."""
