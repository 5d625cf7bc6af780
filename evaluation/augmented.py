"""Augmented references: rotated, mirrored, without colour, cropped, recompressed (thesis, section 6.1)."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from simquery.embedders import Embedder, Features, Pixels, is_usable
from simquery.errors import PictureError
from simquery.evaluation.dataset import LabelledPicture
from simquery.evaluation.embeddings import VectorCache, embed_in_batches
from simquery.pictures.augmentation import AUGMENTATIONS, resized
from simquery.pictures.decoders import shared_decoders
from simquery.pictures.decoding import REDUCED_SIDE

__all__ = ["embed_augmented"]


def embed_augmented(pictures: Sequence[LabelledPicture], name: str, embedder: Embedder, cache: VectorCache) -> Features:
    """Return the vectors of augmented pictures, using the cache.

    Parameters
    ----------
    pictures
        The references.
    name
        One of `AUGMENTATIONS`.
    embedder, cache
        The network, and the cache, which keeps vectors by the content of the augmented pictures.

    Returns
    -------
    float32, shape (n, dims)
        One row for each picture; NaN if the network finds no features in it.

    Raises
    ------
    PictureError
        When a reference can no longer be read.
    """
    augment = AUGMENTATIONS[name]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pixels = list(pool.map(lambda picture: resized(augment(_whole(picture)), embedder.input_size), pictures))
    contents = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
    vectors = np.full((len(pixels), embedder.dims), np.nan, dtype=np.float32)
    missing = np.flatnonzero(~cache.fill(contents, vectors)).tolist()
    made = zip(missing, embed_in_batches([pixels[row] for row in missing], embedder), strict=True)
    new = {row: vector for row, vector in made if is_usable(vector)}
    for row, vector in new.items():
        vectors[row] = vector
    cache.store([contents[row] for row in new], vectors[list(new)])
    return vectors


def _whole(picture: LabelledPicture) -> Pixels:
    """Return the pixels of a picture at its own size, but with sides of at most `REDUCED_SIDE`."""
    decoders = shared_decoders()
    facts = decoders.decode(picture.file, [])
    if not isinstance(facts, PictureError):
        size = (min(facts["height"], REDUCED_SIDE), min(facts["width"], REDUCED_SIDE))
        pixels = np.empty((*size, 3), dtype=np.uint8)
        facts = decoders.decode(picture.file, [pixels])
    if isinstance(facts, PictureError):
        raise PictureError(f"The reference '{picture.paths[0]}' can no longer be read: {facts}.")
    return pixels
