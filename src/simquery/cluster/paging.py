"""Pages of one ranking, at a point in time, so that concurrent indexing cannot shift results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from elasticsearch import Elasticsearch, NotFoundError

from simquery.errors import ClusterError

__all__ = ["point_in_time"]

_KEPT = "10m"


@contextmanager
def point_in_time(client: Elasticsearch, index: str) -> Iterator[Mapping[str, str]]:
    """Open a point in time of an index, in the form that searches take; all pages of a ranking share it.

    Raises
    ------
    ClusterError
        When the server has lost it, because it restarted or no page was requested for ten minutes.
    """
    point = client.open_point_in_time(index=index, keep_alive=_KEPT)["id"]
    try:
        yield {"id": point, "keep_alive": _KEPT}
    except NotFoundError:
        raise ClusterError(
            "Elasticsearch restarted during this ranking, or waited longer than ten minutes for the next page: run the"
            " query again."
        ) from None
    finally:
        with suppress(NotFoundError):
            client.close_point_in_time(id=point)
