"""Scenes drawn from random numbers: the bulk of the collection that an investigator would have to look through."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["SCENES"]

Scene = Callable[[np.random.Generator], Image.Image]
Colour = tuple[int, ...]

_SIZE = (480, 360)
_WIDTH, _HEIGHT = _SIZE
_PAPER = (250, 249, 245)
_INK = (45, 45, 50)
_WORDS = [
    "account",
    "amount",
    "between",
    "court",
    "delivery",
    "evidence",
    "invoice",
    "letter",
    "meeting",
    "number",
    "received",
    "report",
    "signed",
]


def _colour(rng: np.random.Generator, low: int = 0, high: int = 255) -> Colour:
    return tuple(rng.integers(low, high, 3).tolist())


def _sky(top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, _HEIGHT)[:, np.newaxis, np.newaxis]
    rows = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    return Image.fromarray(np.broadcast_to(rows, (_HEIGHT, _WIDTH, 3)).astype(np.uint8))


def _landscape(rng: np.random.Generator) -> Image.Image:
    picture = _sky(_colour(rng, 40, 160), _colour(rng, 170, 255))
    draw = ImageDraw.Draw(picture)
    x, y, radius = rng.uniform(60, _WIDTH - 60), rng.uniform(40, 140), rng.uniform(15, 40)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 240, 190))
    across = np.arange(_WIDTH)
    ground = np.array(_colour(rng, 90, 170))
    for layer in range(4):
        ridge = np.full(_WIDTH, 170.0 + 45 * layer)
        for _ in range(3):
            ridge += rng.uniform(8, 35) * np.sin(across / rng.uniform(25, 120) + rng.uniform(0, 7))
        outline = [(0, _HEIGHT), *zip(across.tolist(), ridge.tolist(), strict=True), (_WIDTH, _HEIGHT)]
        draw.polygon(outline, fill=tuple((ground * (1 - 0.22 * layer)).astype(int).tolist()))
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def _skyline(rng: np.random.Generator) -> Image.Image:
    picture = _sky((8, 10, 30), _colour(rng, 40, 130))
    draw = ImageDraw.Draw(picture)
    left = 0
    while left < _WIDTH:
        width, top = int(rng.integers(35, 80)), int(rng.integers(60, 260))
        draw.rectangle((left, top, left + width, _HEIGHT), fill=_colour(rng, 15, 50))
        for x in range(left + 6, left + width - 8, 12):
            for y in range(top + 8, _HEIGHT - 10, 16):
                if rng.random() < 0.45:
                    draw.rectangle((x, y, x + 6, y + 8), fill=(250, 215, 120))
        left += width + int(rng.integers(0, 8))
    return picture


def _shapes(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", _SIZE, _colour(rng, 180))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(6, 20)):
        x, y, radius = rng.uniform(0, _WIDTH), rng.uniform(0, _HEIGHT), rng.uniform(15, 80)
        if rng.random() < 0.5:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng), outline=_INK, width=2)
        else:
            sides = int(rng.integers(3, 8))
            draw.regular_polygon((x, y, radius), sides, rng.uniform(0, 90), fill=_colour(rng), outline=_INK)
    return picture


def _document(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (_HEIGHT, _WIDTH), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((30, 24), _sentence(rng, 2).upper(), _INK, ImageFont.load_default(20))
    font = ImageFont.load_default(int(rng.integers(11, 15)))
    for y in range(64, int(rng.integers(300, _WIDTH - 30)), 18):
        if rng.random() < 0.88:  # the rest are the gaps between paragraphs
            draw.text((30, y), _sentence(rng, int(rng.integers(4, 7)))[:42], _INK, font)
    return picture.rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC, fillcolor=_PAPER)


def _sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(_WORDS, words).tolist())


def _chart(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", _SIZE, (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    draw.text((50, 12), _sentence(rng, 3), _INK, ImageFont.load_default(18))
    colour, bars = _colour(rng, 30, 200), int(rng.integers(4, 12))
    step = (_WIDTH - 90) / bars
    for bar, height in enumerate(rng.uniform(20, 260, bars)):
        x = 60 + bar * step
        draw.rectangle((x, 320 - height, x + step * 0.7, 320), fill=colour)
    draw.line((50, 45, 50, 320, _WIDTH - 20, 320), _INK, 2)
    return picture


SCENES: dict[str, Scene] = {
    "landscape": _landscape,
    "skyline": _skyline,
    "shapes": _shapes,
    "document": _document,
    "chart": _chart,
}
