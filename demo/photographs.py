"""The demo's photographs: files that installed packages ship, with the author and licence that each package states.

The demo downloads nothing. It leaves out drawings, and pictures whose package names no licence (``moon``,
``motorcycle``, ``page`` and others).
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PHOTOGRAPHS", "Photograph"]


@dataclass(frozen=True)
class Photograph:
    """A photograph in an installed package: file name, folder, subject, author and licence."""

    name: str
    folder: str
    shows: str
    terms: str

    @property
    def path(self) -> Path:
        """Path of the installed file.

        Raises
        ------
        ModuleNotFoundError
            If the package is not installed.
        """
        package, _, folder = self.folder.partition("/")
        found = importlib.util.find_spec(package)  # importing the package would take seconds
        if found is None or found.origin is None:
            raise ModuleNotFoundError(f"{package} is not installed. Run: pip install --group demo")
        return Path(found.origin).parent / folder / self.name


_SKIMAGE = "skimage/data"
_SKLEARN = "sklearn/datasets/images"

PHOTOGRAPHS = (
    Photograph("astronaut.png", _SKIMAGE, "Eileen Collins", "NASA, public domain"),
    Photograph("brick.png", _SKIMAGE, "a brick wall", "CC0Textures, CC0"),
    Photograph("camera.png", _SKIMAGE, "a photographer", "Lav Varshney, CC0"),
    Photograph("cell.png", _SKIMAGE, "a cell in saline (hologram)", "Paul Müller and others, CC0"),
    Photograph("chelsea.png", _SKIMAGE, "a cat", "Stefan van der Walt, CC0"),
    Photograph("clock_motion.png", _SKIMAGE, "a wall clock", "Stefan van der Walt, public domain"),
    Photograph("coffee.png", _SKIMAGE, "a cup of coffee", "Rachel Michetti, CC0"),
    Photograph("coins.png", _SKIMAGE, "Greek coins", "Brooklyn Museum, no known copyright restrictions"),
    Photograph("grass.png", _SKIMAGE, "grass", "linolafett, CC0"),
    Photograph("gravel.png", _SKIMAGE, "gravel", "CC0Textures, CC0"),
    Photograph("hubble_deep_field.jpg", _SKIMAGE, "galaxies", "NASA, public domain"),
    Photograph("ihc.png", _SKIMAGE, "stained tissue (microscope)", "CMMI, no known copyright restrictions"),
    Photograph("microaneurysms.png", _SKIMAGE, "detail of a retina", "Andreas Maier, CC0"),
    Photograph("retina.jpg", _SKIMAGE, "a retina", "Mikael Häggström, CC0"),
    Photograph("rocket.jpg", _SKIMAGE, "a rocket being launched", "SpaceX, public domain"),
    Photograph("china.jpg", _SKLEARN, "a Chinese temple", "danielbuechele on Flickr, CC BY 2.0"),
    Photograph("flower.jpg", _SKLEARN, "a dahlia", "vultilion on Flickr, CC BY 2.0"),
)
