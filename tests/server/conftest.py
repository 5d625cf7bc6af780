"""A real Elasticsearch for the server tests: the local node, in a home of its own."""

import logging
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from simquery.cluster import connect
from simquery.embedders import Embedder, build_embedder
from simquery.indexer import Counts, Indexer, check_folder, scan
from simquery.mappings import install_templates
from simquery.node import LocalNode
from simquery.settings import Settings

MODEL = "mini"

# Where it is set, the node there is used and left running: for working on the tests.
KEPT_HOME = os.environ.get("SIMQUERY_TEST_HOME")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Settings]:
    """Return settings for a running cluster with its administrator's rights, because tests delete what they make."""
    home = Path(KEPT_HOME or tempfile.mkdtemp(prefix="simquery-test-"))
    home.chmod(0o711)
    base = Settings(home=home, heap="1g")
    node = LocalNode(base)
    try:
        node.up(print)
        yield node.administration().model_copy(update={"model": MODEL})
    finally:
        if not KEPT_HOME:
            node.down()
            shutil.rmtree(home)


@pytest.fixture(scope="session")
def client(cluster: Settings) -> Iterator[Elasticsearch]:
    with connect(cluster) as client:
        install_templates(client)
        yield client


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return build_embedder(Settings(model=MODEL))


@pytest.fixture
def case(client: Elasticsearch) -> Iterator[str]:
    """Yield the name of a new case, and delete its indices afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    for index in client.indices.get(index=f"simquery-*-{name}*", expand_wildcards="all").body:
        client.indices.delete(index=index)


@pytest.fixture
def index(client: Elasticsearch, case: str, embedder: Embedder) -> Callable[[Path], Counts]:
    """Index a folder into the test's case in a separate run, and return its counts."""

    def run(folder: Path) -> Counts:
        indexer = Indexer(client, case, embedder)
        indexer.index(scan(check_folder(folder)), lambda _: None)
        return indexer.counts

    return run


@pytest.fixture
def command_environment(cluster: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands run in this process find the cluster, with the key that the local node gives its user."""
    own = LocalNode(cluster).connection()
    assert own.api_key is not None
    monkeypatch.setenv("SIMQUERY_URL", str(own.url))
    monkeypatch.setenv("SIMQUERY_CA_FILE", str(own.ca_file))
    monkeypatch.setenv("SIMQUERY_API_KEY", own.api_key.get_secret_value())
    monkeypatch.setenv("SIMQUERY_MODEL", MODEL)
    monkeypatch.setenv("SIMQUERY_HOME", str(cluster.home))
    monkeypatch.setenv("SIMQUERY_KEEP_WARM", "0")


@pytest.fixture
def said() -> Iterator[Callable[[str], threading.Event]]:
    """Return events that are set as soon as the connection logs a given text."""
    logger, listeners = logging.getLogger("simquery.cluster"), list[logging.Handler]()

    def listen(text: str) -> threading.Event:
        event = threading.Event()
        listener = logging.Handler()
        listener.emit = lambda record: event.set() if text in record.getMessage() else None  # type: ignore[method-assign]
        listeners.append(listener)
        logger.addHandler(listener)
        return event

    yield listen
    for listener in listeners:
        logger.removeHandler(listener)
