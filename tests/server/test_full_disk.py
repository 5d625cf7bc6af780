"""A disk that fills up: Elasticsearch blocks its indices, and unblocks them when there is room again."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from simquery.indexer import Indexer, check_folder, scan
from simquery.mappings import files_index
from tests.conftest import save_picture
from tests.plain import Mean

_WATERMARK = "cluster.routing.allocation.disk.watermark"
_LIMITS = (f"{_WATERMARK}.low", f"{_WATERMARK}.high", f"{_WATERMARK}.flood_stage")
_INTERVAL = "cluster.info.update.interval"


@pytest.fixture
def limits(client: Elasticsearch) -> Iterator[Callable[[str | None], None]]:
    """Set how much free space Elasticsearch requires: a disk with less counts as full."""

    def demand(room: str | None) -> None:
        interval = "10s" if room else None
        client.cluster.put_settings(persistent=dict.fromkeys(_LIMITS, room) | {_INTERVAL: interval})

    yield demand
    demand(None)


def test_a_full_disk_is_waited_for_and_named(
    client: Elasticsearch,
    case: str,
    limits: Callable[[str | None], None],
    said: Callable[[str], threading.Event],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.WARNING)
    save_picture(tmp_path / "evidence" / "a.png")
    indexer = Indexer(client, case, Mean())
    limits("900tb")
    while not client.indices.get_settings(index=files_index(case), name="index.blocks.*").body:
        client.cluster.health(wait_for_events="languid", timeout="1s")  # the server blocks the index by itself
    waited = said("has no room left")
    helper = threading.Thread(target=lambda: (waited.wait(120), limits(None)))
    helper.start()
    indexer.index(scan(check_folder(tmp_path / "evidence")), lambda _: None)
    helper.join()
    assert waited.is_set()
    assert indexer.counts.indexed == 1
    (named,) = {record.getMessage() for record in caplog.records if "no room left" in record.getMessage()}
    assert "of node 'local' has" in named
    assert "GiB free and needs more than 921600.00 GiB" in named
