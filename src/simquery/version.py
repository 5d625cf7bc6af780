"""The version of simquery, which every document and record names."""

__all__ = ["__version__"]

__version__ = "0.1.0"
