"""What happens to a photograph on its way through phones, chats and disks: twelve kinds of variants, and a late one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

__all__ = ["REPHOTOGRAPHED", "VARIANTS", "Variant"]

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Variant:
    """A kind of variant.

    Attributes
    ----------
    name
        Part of the file's name.
    words
        Description for readers.
    change
        Function that makes the variant from an RGB picture; a random generator decides how strong the change is.
    suffix, options
        File format, and options of Pillow's encoder.
    """

    name: str
    words: str
    change: Change
    suffix: str = ".jpg"
    options: Mapping[str, Any] = field(default_factory=dict)


def _cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return _crop(picture, rng.uniform(0.65, 0.8), *rng.uniform(0, 1, 2))


def _crop(picture: Image.Image, share: float, across: float = 0.5, down: float = 0.5) -> Image.Image:
    width, height = (round(side * share) for side in picture.size)
    left, top = round((picture.width - width) * across), round((picture.height - height) * down)
    return picture.crop((left, top, left + width, top + height))


def _mirrored(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(picture)


def _turned(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture.transpose(Image.Transpose.ROTATE_90)


def _tilted(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    # Cropped, because black corners would give the rotation away.
    angle = rng.uniform(6, 12) * rng.choice((-1, 1))
    return _crop(picture.rotate(angle, Image.Resampling.BICUBIC), 0.75)


def _unchanged(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture


def _grey(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.grayscale(picture)


def _brighter(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(rng.uniform(1.3, 1.6))


def _darker(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(rng.uniform(0.4, 0.6))


def _small(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.contain(picture, (128, 128))


def _perspective(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return _seen_askew(picture, rng, 0.18)


def _seen_askew(picture: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Stretch the quadrilateral between four points near the corners to the whole picture."""
    corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], dtype=float)
    inwards = np.sign(0.5 - corners) * rng.uniform(0, strength, corners.shape)
    quad = (corners + inwards) * picture.size
    return picture.transform(
        picture.size, Image.Transform.QUAD, quad.ravel().tolist(), resample=Image.Resampling.BICUBIC
    )


def _noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray((pixels + 22 * noise).clip(0, 255).astype(np.uint8))


def _blurred(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 200))


def _captioned(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    captioned = picture.copy()
    draw = ImageDraw.Draw(captioned)
    top = picture.height * 0.86
    draw.rectangle((0, top, picture.width, picture.height), fill=(0, 0, 0))
    text = f"forwarded {rng.integers(2, 99)} times"
    draw.text((8, top + 4), text, (255, 255, 255), ImageFont.load_default(max(8, picture.height // 14)))
    return captioned


def _rephotographed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Color(_seen_askew(picture, rng, 0.08)).enhance(0.8)


VARIANTS = (
    Variant("cropped", "cropped", _cropped),
    Variant("mirrored", "mirrored", _mirrored, ".png"),
    Variant("turned", "turned by 90°", _turned),
    Variant("tilted", "rotated a little and cropped", _tilted, ".webp"),
    Variant("recompressed", "saved as JPEG of quality 8", _unchanged, options={"quality": 8}),
    Variant("grey", "without colours", _grey),
    Variant("brighter", "brighter", _brighter),
    Variant("darker", "darker", _darker, ".tif"),
    Variant("small", "128 pixels wide or high, in the colours of a GIF", _small, ".gif"),
    Variant("perspective", "seen from the side", _perspective),
    Variant("noisy", "with noise", _noisy),
    Variant("captioned", "with a caption", _captioned),
)

REPHOTOGRAPHED = Variant("rephotographed", "photographed from a screen", _rephotographed, options={"quality": 60})
