"""Reference pictures: find them by path, or by the SHA-256 of a picture of the case, and turn them into vectors."""

import re
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch, NotFoundError
from numpy.typing import NDArray

from simquery.cluster.vectors import unpack
from simquery.embedders import Embedder, Pixels, is_usable
from simquery.errors import PictureError, SchemaError
from simquery.paths import display_path, real_path
from simquery.pictures.augmentation import Augmentation, variants
from simquery.pictures.decoders import shared_decoders
from simquery.pictures.files import FileState, open_evidence, sha256_of
from simquery.query.ranking import Reference

__all__ = ["ReferenceReader"]

_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


class ReferenceReader:
    """Turn names of pictures into references of a case.

    If the case holds a picture with the same content, its stored vector is used; otherwise the picture goes through
    the network, which is built at most once.

    Parameters
    ----------
    client, index
        Connection, and name of the index with the case's pictures.
    fingerprint
        Fingerprint of the network that indexed the case.
    build_embedder
        Called when a picture must go through the network.
    """

    def __init__(
        self, client: Elasticsearch, index: str, fingerprint: str, build_embedder: Callable[[], Embedder]
    ) -> None:
        self._client = client
        self._index = index
        self._fingerprint = fingerprint
        self._build_embedder = build_embedder
        self._embedder: Embedder | None = None

    def read(self, name: str | Path, augment: Collection[Augmentation] = ()) -> Reference:
        """Make a reference of a picture file, or of a picture of the case that is named by its SHA-256.

        Raises
        ------
        PictureError
            When the file cannot be read as a picture, or the case holds no such picture.
        SchemaError
            When the weights of the network differ from those that the case was indexed with.
        """
        if isinstance(name, str) and _SHA256.fullmatch(name) and not Path(name).exists():
            return self._known(name.lower(), augment)
        return self._file(Path(name), augment)

    def _known(self, content: str, augment: Collection[Augmentation]) -> Reference:
        found = self._stored(content)
        if found is None:
            raise PictureError(f"The case holds no picture with the SHA-256 {content}, and no file has this name.")
        paths, vector = found
        if not augment:
            return Reference(paths[0], content, vector[np.newaxis])
        for path in map(real_path, paths):
            if not path.exists():
                continue
            reference = self._file(path, augment)
            if reference.sha256 == content:
                return reference
        raise PictureError(f"No variants can be made: no file with the SHA-256 {content} can be read any more.")

    def _file(self, path: Path, augment: Collection[Augmentation]) -> Reference:
        shown = display_path(path)
        try:
            _require_file(path)
            with open_evidence(path) as file:
                content, state = sha256_of(file), FileState.of(file)
            known = self._stored(content)
            vectors = known[1][np.newaxis] if known else None
            if augment or vectors is None:
                embedder = self._network()
                pixels = _decoded(path, state, embedder.input_size)
                made = embedder.embed(_inputs(pixels, augment, skip_first=known is not None))
                vectors = made if vectors is None else np.concatenate([vectors, made])
        except PictureError as error:
            raise PictureError(f"The reference '{shown}' cannot be used: {error}.") from error
        except OSError as error:
            raise PictureError(f"The reference '{shown}' cannot be read: {error.strerror}.") from error
        if not is_usable(vectors[0]):
            raise PictureError(f"The reference '{shown}' cannot be used: the network finds no features in it.")
        return Reference(shown, content, vectors[[is_usable(vector) for vector in vectors]], tuple(map(str, augment)))

    def _stored(self, content: str) -> tuple[Sequence[str], NDArray[np.float32]] | None:
        try:
            answer = self._client.get(
                index=self._index, id=content, source_includes=["paths", "embedding"], source_exclude_vectors=False
            )
        except NotFoundError:
            return None
        return answer["_source"]["paths"], unpack(answer["_source"]["embedding"])

    def _network(self) -> Embedder:
        if self._embedder is None:
            self._embedder = self._build_embedder()
            if self._embedder.fingerprint != self._fingerprint:
                raise SchemaError(
                    "The case was indexed with other weights or another precision than model"
                    f" '{self._embedder.name}' uses now, and their vectors cannot be compared: go back to the earlier"
                    " weights, or set SIMQUERY_PRECISION=mixed if the case was indexed with it."
                )
        return self._embedder


def _decoded(path: Path, state: FileState, size: tuple[int, int]) -> Pixels:
    """Return the pixels of a picture; a separate process decodes it, because it may be as hostile as evidence."""
    pixels = np.empty((*size, 3), np.uint8)
    outcome = shared_decoders().decode(path, [pixels], state=state)
    if isinstance(outcome, PictureError):
        raise outcome
    return pixels


def _inputs(pixels: Pixels, augment: Collection[Augmentation], *, skip_first: bool) -> Pixels:
    made = variants(pixels, augment)
    return made[1:] if skip_first else made


def _require_file(path: Path) -> None:
    # Opening a named pipe would wait for a program to write to it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise PictureError("it is not a regular file")
