"""A stand-in for the network where a test asks what it is given."""

import torch


class Recorder:
    """Answers with zeros, or with what `answer` makes of its input, and keeps (input, time step, frame stride) of every call."""

    def __init__(self, config, answer=torch.zeros_like):
        self.config, self.answer, self.asked = config, answer, []

    def __call__(self, x, timestep, *told):
        fps = told[2] if len(told) > 2 else None
        self.asked.append((x, int(timestep[0]), fps if fps is None else int(fps[0])))
        return self.answer(x[:, : self.config.out_channels])
