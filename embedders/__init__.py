"""Networks: what an embedder is, which ones exist, where their weights come from."""

from simquery.embedders.embedder import Embedder, Features, Pixels, is_usable
from simquery.embedders.registry import build_embedder, check_model_name, model_names

__all__ = ["Embedder", "Features", "Pixels", "build_embedder", "check_model_name", "is_usable", "model_names"]
