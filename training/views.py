"""Photos, and the crops of them that both the teacher and the student see.

A view depends on (seed, photo, view number) alone, so the teacher's features can be computed once, stored, and matched
later with the student's crop of the same view.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
HELD_OUT_ONE_IN = 14
"""One photo in this many is held out of training, to judge the student."""

MIN_AREA = 0.3
"""The smallest share of a photo that a crop keeps."""
MIXED_FROM = 24
"""Views from this number on mix two photos, which keeps the student from learning photos by heart."""


@dataclass(frozen=True)
class Photos:
    """A folder of photos, decoded and kept in memory.

    Attributes
    ----------
    names : relative paths, sorted.
    pixels : one uint8 (height, width, 3) array per photo.
    fingerprint : SHA-256 over every name and content.
    held_out : bool (n,), true for the photos that are kept for judging.
    """

    names: list[str]
    pixels: list[Pixels]
    fingerprint: str
    held_out: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def read(cls, folder: Path, short_side: int = 144) -> Photos:
        """Decode all photos below ``folder``, and reduce larger ones to ``short_side``."""
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise FileNotFoundError(f"no photos in {folder}")

        def read(path: Path) -> tuple[Pixels, bytes]:
            content = path.read_bytes()
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            scale = short_side / min(image.size)
            if scale < 1:
                size = (round(image.width * scale), round(image.height * scale))
                image = image.resize(size, Image.Resampling.LANCZOS)
            return np.asarray(image), hashlib.sha256(content).digest()

        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(read, paths))
        names = [path.relative_to(folder).as_posix() for path in paths]
        total = hashlib.sha256()
        for name, (_, digest) in zip(names, decoded, strict=True):
            total.update(name.encode() + b"\0" + digest)
        # The content decides, so that adding or renaming other photos does not change whether a photo is held out.
        held_out = [int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0 for _, digest in decoded]
        return cls(names, [pixels for pixels, _ in decoded], total.hexdigest(), np.array(held_out))


def box_of(width: int, height: int, photo: int, view: int, seed: int) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of a view; view 0 is the whole photo, as embedders see it."""
    if view == 0:
        return 0.0, 0.0, float(width), float(height)
    rng = np.random.default_rng((seed, photo, view))
    area = width * height * rng.uniform(MIN_AREA, 1.0)
    aspect = width / height * np.exp(rng.uniform(-0.35, 0.35))
    crop_width = min(float(width), np.sqrt(area * aspect))
    crop_height = min(float(height), np.sqrt(area / aspect))
    left = rng.uniform(0, width - crop_width) if width > crop_width else 0.0
    top = rng.uniform(0, height - crop_height) if height > crop_height else 0.0
    return left, top, left + crop_width, top + crop_height


def crop(photos: Photos, photo: int, view: int, size: int, seed: int) -> Pixels:
    """Cut one view of one photo: uint8 (size, size, 3)."""
    image = Image.fromarray(photos.pixels[photo])
    box = box_of(image.width, image.height, photo, view, seed)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def look(photos: Photos, photo: int, view: int, size: int, seed: int) -> Pixels:
    """Return a view as teacher and student see it: one crop, or two mixed crops from view `MIXED_FROM` on.

    Half of the mixed views are blended (Zhang et al., "mixup", 2018); in the others, a part of one picture covers the
    other (Yun et al., "CutMix", 2019). The second photo is never one that was held out.
    """
    picture = crop(photos, photo, view, size, seed)
    if view < MIXED_FROM:
        return picture
    rng = np.random.default_rng((seed, photo, view, 1))
    other = crop(photos, int(rng.choice(np.flatnonzero(~photos.held_out))), view, size, seed)
    share = rng.uniform(0.2, 0.8)
    if rng.random() < 0.5:  # noqa: PLR2004
        return np.rint(picture * (1 - share) + other * share).astype(np.uint8)
    side = round(size * np.sqrt(share))
    top, left = (round((size - side) * place) for place in rng.random(2))
    mixed = picture.copy()
    mixed[top : top + side, left : left + side] = other[top : top + side, left : left + side]
    return mixed


def jitter(batch: Pixels, rng: np.random.Generator) -> Pixels:
    """Vary brightness, contrast and colour a little; the teacher's features hardly depend on them.

    Parameters
    ----------
    batch : uint8 (n, h, w, 3).
    rng : source of the randomness.
    """
    n = len(batch)
    shape = (n, 1, 1, 1)
    values = batch.astype(np.float32)
    grey = values.mean(axis=3, keepdims=True)
    values = grey + (values - grey) * rng.uniform(0.6, 1.3, shape).astype(np.float32)
    mean = values.mean(axis=(1, 2, 3), keepdims=True)
    values = mean + (values - mean) * rng.uniform(0.8, 1.2, shape).astype(np.float32)
    values *= rng.uniform(0.85, 1.15, shape).astype(np.float32)
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)
