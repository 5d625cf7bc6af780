"""Evaluation: compare networks and distances on a folder of classes, by the protocol of the thesis."""
