"""One file per network, each readable alone."""
