"""A server that is killed and restarted during a run."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from pydantic import SecretStr

from simquery.cluster import connect
from simquery.distances import DISTANCES
from simquery.errors import AuthenticationError, ClusterError
from simquery.indexer import Counts, Indexer, Verifier, check_folder, scan
from simquery.node import LocalNode
from simquery.query import Query, Searcher
from simquery.query.marks import Verdict, mark_hits, read_review
from simquery.query.results import save_ranking
from simquery.settings import Settings
from tests.conftest import save_picture
from tests.plain import Mean
from tests.server.vectors import features, never, ranked, references, store

Restart = Callable[[], threading.Thread]


@pytest.fixture
def restart(cluster: Settings) -> Iterator[Restart]:
    """Kill the server as a power cut does, and start it again in a thread."""
    assert cluster.url is not None
    node = LocalNode(cluster.model_copy(update={"port": cluster.url.port}))
    threads = []

    def kill_and_start() -> threading.Thread:
        process = node.status().pid
        assert process is not None
        end = os.pidfd_open(process)
        os.kill(process, signal.SIGKILL)
        assert select.select([end], [], [], 30)[0]
        os.close(end)
        threads.append(threading.Thread(target=node.up))
        threads[-1].start()
        return threads[-1]

    yield kill_and_start
    for thread in threads:
        thread.join()
    node.up()


def test_a_server_killed_while_indexing_is_waited_for(
    restart: Restart, client: Elasticsearch, cluster: Settings, case: str, tmp_path: Path
) -> None:
    folder = tmp_path / "evidence"
    for seed in range(200):
        save_picture(folder / f"{seed}.png", seed)
    killed = []

    def kill_once(counts: Counts) -> None:
        if counts.seen >= 64 and not killed:
            killed.append(restart())

    with connect(cluster) as own:
        indexer = Indexer(own, case, Mean(), patience_seconds=180)
        indexer.index(scan(check_folder(folder)), kill_once)
        assert killed
        assert indexer.counts.seen == 200
        report = Verifier(own, case).verify([folder], rehash=True, progress=lambda _: None)
    assert (report.files, report.differences) == (200, [])


def test_a_server_killed_between_two_queries_is_waited_for(
    restart: Restart, client: Elasticsearch, cluster: Settings, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(client, case, features(1, 40))
    with connect(cluster) as own:
        searcher = Searcher(own, case, "net", never)
        before = ranked(searcher, features(2, 1), "cosine", 10)
        monkeypatch.setattr("simquery.query.searcher._DEEP_PAGE", 5)
        pages = searcher.hits(Query(references(features(2, 1)), DISTANCES["cosine"], None))
        next(pages)
        restart()
        with pytest.raises(ClusterError, match=r"restarted during this ranking.*: run the query again"):
            list(pages)
        assert ranked(searcher, features(2, 1), "cosine", 10).hits == before.hits
        query = save_ranking(own, before).query
        mark_hits(own, query, [1], Verdict.RELEVANT)
        assert read_review(own, query).reviewed == 1
        assert Searcher(own, case, "net", never).embedding == searcher.embedding


def test_credentials_refused_after_a_success_are_waited_for(
    client: Elasticsearch, cluster: Settings, case: str, said: Callable[[str], threading.Event]
) -> None:
    """A server that has just started and has not found its users yet answers 401 as well."""
    store(client, case, features(1, 10))
    client.security.put_user(username=case, password=f"{case}!", roles=["superuser"])
    user = {"username": case, "password": SecretStr(f"{case}!")}
    try:
        with connect(cluster.model_copy(update=user)) as own:
            searcher = Searcher(own, case, "net", never)
            client.security.disable_user(username=case)
            refused = said("refuses credentials that it accepted before")
            helper = threading.Thread(target=lambda: (refused.wait(60), client.security.enable_user(username=case)))
            helper.start()
            assert len(ranked(searcher, features(2, 1), "cosine", 10).hits) == 10
            helper.join()
            assert refused.is_set()
    finally:
        client.security.delete_user(username=case)


def test_credentials_that_were_never_accepted_are_refused_at_once(
    cluster: Settings, said: Callable[[str], threading.Event]
) -> None:
    waited = said("Waiting for at most")
    with pytest.raises(AuthenticationError):
        connect(cluster.model_copy(update={"password": SecretStr("wrong")}))
    assert not waited.is_set()
