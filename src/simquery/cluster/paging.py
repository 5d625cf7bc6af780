"""Pages of one ranking: a point in time that concurrent indexing cannot shift."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from elasticsearch import Elasticsearch, NotFoundError

from simquery.errors import ClusterError

__all__ = ["point_in_time"]

_KEPT = "10m"


@contextmanager
def point_in_time(client: Elasticsearch, index: str) -> Iterator[Mapping[str, str]]:
    """Point in time of an index, as a search names it; shared by all pages of a ranking.

    Raises
    ------
    ClusterError
        When the server forgot it in the middle, because it restarted or no page was asked for in ten minutes.
    """
    point = client.open_point_in_time(index=index, keep_alive=_KEPT)["id"]
    try:
        yield {"id": point, "keep_alive": _KEPT}
    except NotFoundError:
        raise ClusterError(
            "Elasticsearch restarted, or waited longer than ten minutes for the next page, in the middle of this"
            " ranking: ask again."
        ) from None
    finally:
        with suppress(NotFoundError):
            client.close_point_in_time(id=point)
