"""Build the demo's evidence folder, with the same bytes every time.

It holds photographs that installed packages ship, variants of them, drawn scenes, some damaged files (every seized disk
has those), and ``SOURCES.md``, which describes each file. To build it alone: ``python demo/evidence.py FOLDER``.
"""

import shutil
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from photographs import PHOTOGRAPHS, Photograph
from PIL import Image
from scenes import SCENES
from variants import REPHOTOGRAPHED, VARIANTS, Variant

__all__ = ["Evidence", "File", "build", "drop", "shows"]

_SCENES_OF_EACH = 12
_LONGEST_SIDE = 640
_COPIED = "coffee.png"
_TRUNCATED = "rocket.jpg"
_INDEX = "SOURCES.md"
_HEAD = """\
# What is in this folder

The photographs come from the installed packages scikit-image (`skimage/data`) and scikit-learn
(`sklearn/datasets/images`), with the author and licence that the package states. A variant has the licence of its
photograph; so do the variants that the demo later puts into `dropped`. `demo/scenes.py` drew the scenes; they show
nothing real.
"""


@dataclass(frozen=True)
class File:
    """A file of the evidence folder: its path within, its description, and the status that `index` should give it."""

    path: Path
    words: str
    status: str = "indexed"


@dataclass(frozen=True)
class Evidence:
    """An evidence folder and its files."""

    folder: Path
    files: tuple[File, ...]

    def count(self, status: str) -> int:
        """Return how many files should get this status."""
        return sum(file.status == status for file in self.files)


def build(folder: Path) -> Evidence:
    """Build the evidence in a folder that must not exist yet."""
    files = (
        *_photographs(folder / "photographs"),
        *_variants(folder / "variants"),
        *_scenes(folder / "generated"),
        *_damaged(folder / "damaged"),
        File(folder / _INDEX, "this text", "skipped"),
    )
    files = tuple(File(file.path.relative_to(folder), file.words, file.status) for file in files)
    (folder / _INDEX).write_text(_sources(files), encoding="utf-8")
    return Evidence(folder, files)


def drop(folder: Path, photograph: str) -> Path:
    """Save one more variant of a photograph (``chelsea.png``) into a folder, as if it had been found later."""
    folder.mkdir(exist_ok=True)
    source = next(source for source in PHOTOGRAPHS if source.name == photograph)
    return _save_variant(folder, source, REPHOTOGRAPHED)


def shows(path: Path) -> str:
    """Return the name of the photograph or scene that a file of the evidence shows."""
    return path.stem.partition("--")[0]


def _photographs(folder: Path) -> Iterable[File]:
    folder.mkdir(parents=True)
    for photograph in PHOTOGRAPHS:
        shutil.copyfile(photograph.path, folder / photograph.name)
        package = photograph.folder.partition("/")[0]
        yield File(folder / photograph.name, f"{photograph.shows} ({package}: {photograph.terms})")


def _variants(folder: Path) -> Iterable[File]:
    folder.mkdir()
    for photograph in PHOTOGRAPHS:
        for variant in VARIANTS:
            yield File(_save_variant(folder, photograph, variant), f"{photograph.name}, {variant.words}")
        if photograph.name == _COPIED:
            copy = folder / f"{photograph.path.stem}--copy{photograph.path.suffix}"
            shutil.copyfile(photograph.path, copy)
            yield File(copy, f"{photograph.name}, the same bytes again", "duplicate")


def _save_variant(folder: Path, photograph: Photograph, variant: Variant) -> Path:
    path = folder / f"{photograph.path.stem}--{variant.name}{variant.suffix}"
    with Image.open(photograph.path) as picture:
        original = picture.convert("RGB")
    original.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    variant.change(original, _generator(path.name)).save(path, **variant.options)
    return path


def _scenes(folder: Path) -> Iterable[File]:
    folder.mkdir()
    for name, scene in SCENES.items():
        for number in range(1, _SCENES_OF_EACH + 1):
            path = folder / f"{name}--{number:02}.jpg"
            scene(_generator(path.name)).save(path)
            yield File(path, f"{name}, drawn")


def _damaged(folder: Path) -> Iterable[File]:
    folder.mkdir()
    source = next(photograph for photograph in PHOTOGRAPHS if photograph.name == _TRUNCATED)
    truncated, text = folder / "truncated.jpg", folder / "text.jpg"
    content = source.path.read_bytes()
    truncated.write_bytes(content[: len(content) // 2])
    yield File(truncated, f"the first half of {source.name}, decoded as far as it goes", "indexed")
    text.write_text("This is no picture, whatever its name says.\n", encoding="ascii")
    yield File(text, "a text file named like a picture", "unreadable")


def _generator(name: str) -> np.random.Generator:
    # Seeded by the name, so that adding or removing one file does not change the others.
    return np.random.default_rng(zlib.crc32(name.encode()))


def _sources(files: Iterable[File]) -> str:
    rows = "".join(f"| `{file.path}` | {file.words} | {file.status} |\n" for file in files)
    return f"{_HEAD}\n| file | description | status |\n| --- | --- | --- |\n{rows}"


if __name__ == "__main__":
    evidence = build(Path(sys.argv[1]))
    print(f"{len(evidence.files)} files in '{evidence.folder}'")
