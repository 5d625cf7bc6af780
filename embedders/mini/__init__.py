"""The small network that comes with the package, trained without labels (see CARD.md)."""

from simquery.embedders.backend import load_tensorflow
from simquery.embedders.embedder import Embedder

__all__ = ["mini_embedder"]


def mini_embedder() -> Embedder:
    """Build the embedder of the small network, after checking its weights against their stored SHA-256.

    Raises
    ------
    WeightsError
        When the weights are damaged.
    """
    load_tensorflow()
    from simquery.embedders.keras import KerasEmbedder  # noqa: PLC0415  (TensorFlow takes seconds)
    from simquery.embedders.mini import archive  # noqa: PLC0415

    return KerasEmbedder("mini", archive.load(), identity="mini")
