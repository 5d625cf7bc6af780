"""A synthetic evidence folder: generated pictures with cameras, dates and places, copies, and files that are broken.

python -m tests.browser.evidence FOLDER
"""

import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from tests.conftest import save_picture

_NUMBER = 300
_FIRST = datetime(2021, 6, 1)
_CAMERAS = ("Canon EOS 80D", "NIKON D70", "Apple iPhone 6", "SONY DSC-RX100")
# Where pictures were taken: degrees north and east, and how far around, in degrees.
_PLACES = ((52.37, 4.90, 0.03), (50.85, 4.35, 0.02), (43.30, 5.37, 0.08))


def main(folder: Path) -> None:
    """Write the pictures."""
    random = np.random.default_rng(1)
    for number in range(_NUMBER):
        suffix = ("jpg", "jpg", "jpg", "png", "gif", "webp")[number % 6]
        path = folder / f"{'DCIM' if suffix == 'jpg' else 'Downloads'}" / f"{number:04d}.{suffix}"
        if suffix == "jpg":
            save_picture(path, number, exif=_exif(random))
        else:
            save_picture(path, number)
    for number in range(0, 60, 6):
        copy = folder / "Backup" / f"copy of {number:04d}.jpg"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "DCIM" / f"{number:04d}.jpg", copy)
    (folder / "Downloads" / "cut off.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "Downloads" / "empty.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "Downloads" / "letter.txt").write_text("not a picture")


def _exif(random: np.random.Generator) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "", _CAMERAS[min(3, int(random.exponential(1.2)))]
    taken = _FIRST + timedelta(days=float(random.triangular(0, 400, 900)))
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{taken:%Y:%m:%d %H:%M:%S}"
    north, east, around = _PLACES[min(2, int(random.exponential(0.8)))]
    places = {ExifTags.GPS.GPSLatitude: north, ExifTags.GPS.GPSLongitude: east}
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLongitudeRef: "E"}
        | {name: (float(random.normal(value, around)), 0.0, 0.0) for name, value in places.items()}
    )
    return exif


if __name__ == "__main__":
    main(Path(sys.argv[1]))
