"""The small network that is part of the package, trained without labels (see CARD.md)."""

from simquery.embedders.backend import load_tensorflow
from simquery.embedders.embedder import Embedder

__all__ = ["mini_embedder"]


def mini_embedder() -> Embedder:
    """Embedder of the small network; its weights are checked against the record of their training.

    Raises
    ------
    WeightsError
        When the weights are damaged.
    """
    load_tensorflow()
    from simquery.embedders.keras import KerasEmbedder  # noqa: PLC0415  (TensorFlow is loaded when it is needed)
    from simquery.embedders.mini import archive  # noqa: PLC0415

    return KerasEmbedder("mini", archive.load(), identity="mini")
