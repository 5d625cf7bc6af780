"""The small network that ships with the package: trained here, on no labels (see CARD.md)."""

from simquery.embedders.backend import load_tensorflow
from simquery.embedders.embedder import Embedder

__all__ = ["mini_embedder"]


def mini_embedder() -> Embedder:
    """The embedder, its weights checked against the record of their training.

    Raises
    ------
    WeightsError
        When the weights are damaged.
    """
    load_tensorflow()
    from simquery.embedders.keras import KerasEmbedder  # noqa: PLC0415  (TensorFlow is loaded when it is needed)
    from simquery.embedders.mini import weights  # noqa: PLC0415

    return KerasEmbedder("mini", weights.load(), identity="mini")
