"""Where and when, in plain numbers: boxes, the canvas, windows, rounds and key-frame plans. Nothing here touches a pixel or knows a model."""
