"""Parts of networks, files of weights and encoders that more than one system uses."""
