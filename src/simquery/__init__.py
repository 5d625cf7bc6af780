"""Rank seized pictures by similarity to a few reference pictures."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("simquery")
