"""Embedders: the networks that turn pictures into feature vectors, and their weights."""

from simquery.embedders.embedder import Embedder, Features, Pixels, is_usable
from simquery.embedders.registry import build_embedder, check_model_name, model_names

__all__ = ["Embedder", "Features", "Pixels", "build_embedder", "check_model_name", "is_usable", "model_names"]
