"""The error hierarchy. Every message says what failed, what was given, what is needed and how to fix it."""


class CanvasError(ValueError):
    """Anything this package refuses to do. Catch this one to catch them all."""


class GeometryError(CanvasError):
    """A canvas, box or window that cannot exist."""


class CheckpointError(CanvasError):
    """A weights file that is missing, damaged, unsafe or of another kind."""


class VideoError(CanvasError):
    """A video that cannot be read or written."""


class ConditioningError(CanvasError):
    """Text, layout or region input that does not fit the network."""


class SamplingError(CanvasError):
    """Latents or settings the sampler cannot work with."""


class TrainingError(CanvasError):
    """A training configuration, data set or state that cannot be used."""
