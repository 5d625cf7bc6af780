"""Which network and distance to trust on a folder of classes: measures, rankings, the thesis' protocol, its report."""
