"""Second stage: decode the contents that a network has not seen, each from the first file that can be read."""

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
    """Find out which models already have a content, and decode it for the others.

    Parameters
    ----------
    images
        The images index of each model.
    sizes
        Input sizes (height, width) of the networks.
    decoders
        Decoder processes.
    readers
        Threads that wait for the decoders.
    timings
        Record of the stage's busy time.
    thumbnails
        Whether to store a thumbnail with each picture.
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
        """Decode one content; return the files that could not be read this time."""
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
            unread.append((content.sightings.pop(0), Obstacle(str(outcome))))  # the next copy may be readable
        return unread

    def _decoded(self, content: Content, place: Sequence[Pixels]) -> "dict[str, object] | PictureError":
        if self._readers.closed.is_set():
            raise InterruptedError
        file = content.source
        with explained("decoding", display_path(file.path)):
            return self._decoders.decode(file.path, place, state=file.state, thumbnail=self._thumbnails)
