"""References as they come in practice: turned, mirrored, without colour, cut out, saved again (thesis, section 6.1).

An augmented reference is a picture file like any other and reaches the network the same way.
"""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from simquery.embedders import Embedder, Features, Pixels, is_usable
from simquery.evaluation.dataset import LabelledPicture
from simquery.evaluation.embeddings import VectorCache, embed_in_batches
from simquery.pictures.decoding import decode
from simquery.pictures.files import open_evidence

__all__ = ["AUGMENTATIONS", "augmented", "embed_augmented"]

_CROP = 0.15
_QUALITY = 20


def _png(image: Image.Image) -> bytes:
    return _saved(image, "PNG")


def _saved(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _cropped(image: Image.Image) -> bytes:
    width, height = image.size
    left, top = int(width * _CROP), int(height * _CROP)
    return _png(image.crop((left, top, width - left, height - top)))


AUGMENTATIONS: dict[str, Callable[[Image.Image], bytes]] = {
    "rotated": lambda image: _png(image.transpose(Image.Transpose.ROTATE_90)),
    "flipped": lambda image: _png(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "grey": lambda image: _png(image.convert("L")),
    "cropped": _cropped,
    "recompressed": lambda image: _saved(image, "JPEG", quality=_QUALITY),
}
"""By 90°; left to right; luminance alone; 15 % less on each side; JPEG of quality 20. Each gives an encoded picture."""


def augmented(file: Path, name: str) -> bytes:
    """Encoded picture that an augmentation makes of a picture file.

    Raises
    ------
    PictureError, OSError
        When the file cannot be read.
    """
    with open_evidence(file) as opened:
        facts, _ = decode(opened, [])
        opened.seek(0)
        _, (pixels,) = decode(opened, [(facts.height, facts.width)])
    return AUGMENTATIONS[name](Image.fromarray(pixels))


def embed_augmented(pictures: Sequence[LabelledPicture], name: str, embedder: Embedder, cache: VectorCache) -> Features:
    """Vectors of augmented pictures, float32 (n, dims), by way of the cache; NaN where there is none."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = list(pool.map(lambda picture: augmented(picture.file, name), pictures))
        contents = [hashlib.sha256(file).hexdigest() for file in files]
        vectors = np.full((len(files), embedder.dims), np.nan, dtype=np.float32)
        missing = np.flatnonzero(~cache.fill(contents, vectors)).tolist()
        pixels = list(pool.map(lambda row: _pixels(files[row], embedder.input_size), missing))
    made = zip(missing, embed_in_batches(pixels, embedder), strict=True)
    new = {row: vector for row, vector in made if is_usable(vector)}
    for row, vector in new.items():
        vectors[row] = vector
    cache.store([contents[row] for row in new], vectors[list(new)])
    return vectors


def _pixels(file: bytes, size: tuple[int, int]) -> Pixels:
    _, (pixels,) = decode(io.BufferedReader(io.BytesIO(file)), [size])
    return pixels
