"""Rank seized pictures by similarity to a few reference pictures."""

__all__ = ["__version__"]

__version__ = "0.1.0"
