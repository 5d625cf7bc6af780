"""Queries by example against one case and model."""

import base64
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, NotFoundError
from numpy.typing import NDArray

from simquery.distances import Distance, distance_of_score
from simquery.embedders import Embedder, is_usable
from simquery.embedders.pictures import decode, open_evidence, sha256_of
from simquery.errors import CaseError, ClusterError, PictureError, SchemaError
from simquery.mappings import embedding_facts, images_index
from simquery.paths import display_path
from simquery.query.ranking import Hit, Ranking, Reference
from simquery.query.requests import exact_search

__all__ = ["Searcher"]


class Searcher:
    """Ranks the pictures of a case by their distance to reference pictures.

    Parameters
    ----------
    client
        Connection to the cluster.
    case, model
        What to search; the model in its registered spelling.
    build_embedder
        Called when a reference is not in the case and has to go through the network, at most once.

    Raises
    ------
    CaseError
        When nothing has been indexed for this case and model.
    """

    def __init__(self, client: Elasticsearch, case: str, model: str, build_embedder: Callable[[], Embedder]) -> None:
        self._client = client
        self._case = case
        self._model = model
        self._index = images_index(case, model)
        _, self._fingerprint = embedding_facts(client, case, model)
        self._build_embedder = build_embedder
        self._embedder: Embedder | None = None

    def reference(self, path: Path) -> Reference:
        """Make a reference of a picture file.

        A picture that the case knows by its content gets the vector it was indexed with; any other is embedded.

        Raises
        ------
        PictureError
            When the file cannot be read as a picture.
        SchemaError
            When the network has other weights now than the case was indexed with.
        """
        name = display_path(path)
        try:
            _require_file(path)
            with open_evidence(path) as file:
                content = sha256_of(file)
                vector = self._stored_vector(content)
                if vector is None:
                    embedder = self._network()
                    _, (pixels,) = decode(file, [embedder.input_size])
                    vector = embedder.embed(pixels[np.newaxis])[0]
        except PictureError as error:
            raise PictureError(f"The reference '{name}' cannot be used: {error}.") from error
        except OSError as error:
            raise PictureError(f"The reference '{name}' cannot be read: {error.strerror}.") from error
        if not is_usable(vector):
            raise PictureError(f"The reference '{name}' cannot be used: model '{self._model}' finds nothing in it.")
        return Reference(path, content, vector)

    def rank(self, references: Sequence[Reference], distance: Distance, k: int) -> Ranking:
        """Rank all pictures of the case and return the ``k`` nearest (k from 1 to 10,000).

        Raises
        ------
        CaseError
            When the case holds no picture.
        """
        vectors = np.stack([reference.vector for reference in references])
        answer = self._client.search(index=self._index, **exact_search(distance, vectors, k))
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise ClusterError(
                "Elasticsearch could not score every picture: nothing is shown rather than a part of it."
            )
        found = answer["hits"]
        if not found["total"]["value"]:
            raise CaseError(f"Case '{self._case}' holds no picture that model '{self._model}' has seen.")
        return Ranking(
            case=self._case,
            model=self._model,
            distance=distance.name,
            mode="exact",
            k=k,
            collection_size=found["total"]["value"],
            took_ms=answer["took"],
            references=tuple(references),
            hits=tuple(_hit(rank, hit) for rank, hit in enumerate(found["hits"], start=1)),
        )

    def _stored_vector(self, content: str) -> NDArray[np.float32] | None:
        try:
            answer = self._client.get(
                index=self._index, id=content, source_includes=["embedding"], source_exclude_vectors=False
            )
        except NotFoundError:
            return None
        return _vector(answer["_source"]["embedding"])

    def _network(self) -> Embedder:
        if self._embedder is None:
            self._embedder = self._build_embedder()
            if self._embedder.fingerprint != self._fingerprint:
                raise SchemaError(
                    f"Case '{self._case}' was indexed with other weights than model '{self._model}' has now, and their"
                    " vectors cannot be compared: bring back the weights used then."
                )
        return self._embedder


def _require_file(path: Path) -> None:
    # Opening a named pipe would wait for somebody to write into it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise PictureError("it is not a regular file")


def _hit(rank: int, hit: dict[str, Any]) -> Hit:
    source = hit["_source"]
    return Hit(rank, distance_of_score(hit["_score"]), source["sha256"], tuple(source["paths"]))


def _vector(stored: str | list[float]) -> NDArray[np.float32]:
    # Elasticsearch returns a vector in the form it came in: big-endian float32 in base64, or a list of numbers.
    if isinstance(stored, str):
        return np.frombuffer(base64.b64decode(stored), dtype=">f4").astype(np.float32)
    return np.asarray(stored, dtype=np.float32)
