"""Contact sheet of a ranking: one picture with the references and the hits in the order of their rank."""

import logging
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from simquery.errors import PictureError
from simquery.paths import real_path
from simquery.pictures.thumbnails import read_small
from simquery.query.ranking import Ranking

__all__ = ["MOST_HITS", "contact_sheet"]

logger = logging.getLogger(__name__)

MOST_HITS = 2000
"""Most hits that a contact sheet shows: they take 190 MB of pixels, and a JPEG cannot be much higher."""

_THUMBNAIL = 160
_CAPTION = 20
_GAP = 8
_COLUMNS = 8
_PAPER = (255, 255, 255)
_INK = (40, 40, 40)
_FRAME = (200, 30, 30)


def contact_sheet(ranking: Ranking) -> Image.Image:
    """Draw a ranking: the references in a red frame first, then rank and distance under each hit.

    Pictures are read from the evidence again; a picture that can no longer be read leaves an empty place that says so.
    The sheet shows only the first `MOST_HITS` hits of a longer ranking, and says so at its end and in the log.
    """
    hits = ranking.hits[:MOST_HITS]
    cut = f"The sheet shows the first {len(hits):,} of {len(ranking.hits):,} hits." if hits != ranking.hits else ""
    if cut:
        logger.warning("%s", cut)
    columns = min(_COLUMNS, max(len(hits), len(ranking.references)))
    reference_rows = -(-len(ranking.references) // columns)
    rows = reference_rows + -(-len(hits) // columns)
    width = columns * (_THUMBNAIL + _GAP) + _GAP
    height = rows * (_THUMBNAIL + _CAPTION + _GAP) + 2 * _GAP + (_CAPTION if cut else 0)
    sheet = Image.new("RGB", (width, height), _PAPER)
    for place, reference in enumerate(ranking.references):
        _place(sheet, divmod(place, columns), real_path(reference.path), "reference", framed=True)
    for place, hit in enumerate(hits):
        row, column = divmod(place, columns)
        _place(sheet, (row + reference_rows, column), _real_path(hit.paths), f"{hit.rank} · {hit.distance:.4g}")
    if cut:
        ImageDraw.Draw(sheet).text((_GAP, height - _CAPTION - _GAP), cut, _INK, ImageFont.load_default(12))
    return sheet


def _place(sheet: Image.Image, position: tuple[int, int], path: Path, caption: str, *, framed: bool = False) -> None:
    row, column = position
    left = _GAP + column * (_THUMBNAIL + _GAP)
    top = _GAP + row * (_THUMBNAIL + _CAPTION + _GAP)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    thumbnail = _thumbnail(path)
    if thumbnail is None:
        draw.rectangle((left, top, left + _THUMBNAIL, top + _THUMBNAIL), outline=_INK)
        draw.text((left + 8, top + _THUMBNAIL // 2), "not readable now", _INK, font)
    else:
        offset = ((_THUMBNAIL - thumbnail.width) // 2, (_THUMBNAIL - thumbnail.height) // 2)
        sheet.paste(thumbnail, (left + offset[0], top + offset[1]))
    if framed:
        draw.rectangle((left - 3, top - 3, left + _THUMBNAIL + 2, top + _THUMBNAIL + 2), outline=_FRAME, width=3)
    draw.text((left + 2, top + _THUMBNAIL + 3), caption, _INK, font)


def _thumbnail(path: Path) -> Image.Image | None:
    try:
        return read_small(path, _THUMBNAIL)
    except (PictureError, OSError):
        return None


def _real_path(paths: tuple[str, ...]) -> Path:
    real = [real_path(path) for path in paths]
    return next((path for path in real if path.exists()), real[0])
