"""Second stage: contents that a network has not seen are decoded, each from the first file that can be read."""

from collections.abc import Mapping, Sequence

import numpy as np

from simquery.errors import PictureError
from simquery.indexer.contents import Batch, Content, Obstacle, Sighting
from simquery.indexer.failures import explained
from simquery.indexer.images import Images
from simquery.indexer.timings import Timings
from simquery.indexer.workers import Workers
from simquery.paths import display_path
from simquery.pictures.decoders import Decoders
from simquery.pictures.decoding import UnreadError
from simquery.pictures.pixels import Pixels

__all__ = ["Decoding"]


class Decoding:
    """Finds out which models have a content already, and decodes it for the others.

    Parameters
    ----------
    images
        Where each model's pictures are.
    sizes
        Input sizes (height, width) of the networks.
    decoders
        Processes to decode in.
    readers
        Threads that wait for them.
    timings
        Gets the stage's busy time.
    thumbnails
        Whether documents get a thumbnail.
    """

    def __init__(
        self,
        images: Mapping[str, Images],
        sizes: Sequence[tuple[int, int]],
        decoders: Decoders,
        readers: Workers,
        timings: Timings,
        *,
        thumbnails: bool,
    ) -> None:
        self._images = images
        self._sizes = sizes
        self._thumbnails = thumbnails
        self._decoders = decoders
        self._readers = readers
        self._timings = timings

    def __call__(self, batch: Batch) -> Batch:
        """Decode a batch's contents."""
        with self._timings.of("decode", batch.files):
            known = {
                model: images.known(content.sha256 for content in batch.contents)
                for model, images in self._images.items()
            }
            for content in batch.contents:
                content.models = {model for model, contents in known.items() if content.sha256 in contents}
            unseen = [content for content in batch.contents if len(content.models) < len(known)]
            batch.pixels = [np.empty((len(unseen), *size, 3), np.uint8) for size in self._sizes]
            for row, content in enumerate(unseen):
                content.row = row
            places = zip(*batch.pixels, strict=True)
            for unread in self._readers.map(self._decode, list(zip(unseen, places, strict=True))):
                batch.obstructed += unread
            batch.contents = [content for content in batch.contents if content.sightings]
        return batch

    def _decode(self, task: tuple[Content, Sequence[Pixels]]) -> list[tuple[Sighting, Obstacle]]:
        """Decode one content; returns its files that could not be read this time."""
        content, place = task
        unread = []
        while content.sightings:
            outcome = self._decoded(content, place)
            if not isinstance(outcome, UnreadError):
                if isinstance(outcome, PictureError):
                    content.problem = outcome
                else:
                    content.fields = outcome
                break
            unread.append((content.sightings.pop(0), Obstacle(str(outcome))))  # the next copy may do better
        return unread

    def _decoded(self, content: Content, place: Sequence[Pixels]) -> "dict[str, object] | PictureError":
        if self._readers.closed.is_set():
            raise InterruptedError
        file = content.source
        with explained("decoding", display_path(file.path)):
            return self._decoders.decode(file.path, place, state=file.state, thumbnail=self._thumbnails)
