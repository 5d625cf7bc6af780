"""What docs/operations.md says about the Compose project, tested in real containers."""

import json
import os
import re
import shutil
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.compose.conftest import CLUSTER, Project
from tests.compose.engine import until
from tests.conftest import save_picture

PICTURES = 6


@pytest.fixture(scope="module")
def running(project: Project) -> Project:
    """The project, built and started, with the first pictures indexed."""
    for seed in range(PICTURES):
        save_picture(project.evidence / f"{seed}.png", seed)
    project.compose("build")
    project.up()
    assert project.pictures() == PICTURES
    return project


def drop(project: Project, seed: int) -> Path:
    """Put one more picture into the evidence, and wait until it can be searched."""
    before = project.pictures()
    picture = save_picture(project.evidence / f"{seed}.png", seed)
    until(lambda: project.pictures() == before + 1, "the picture is indexed")
    return picture


def kill(project: Project, service: str) -> None:
    """Kill the process as the kernel does when memory runs out."""
    os.kill(project.container(service)["State"]["Pid"], signal.SIGKILL)


def test_a_picture_that_is_dropped_in_is_found_by_the_documented_query(running: Project) -> None:
    drop(running, 100)
    (hit, *_) = running.query("/evidence/100.png", "-k", "3")["hits"]
    assert hit["paths"] == ["/evidence/100.png"]
    assert hit["distance"] == pytest.approx(0, abs=1e-6)


def test_a_reference_gets_in_and_a_sheet_out_as_documented(running: Project, tmp_path: Path) -> None:
    reference = save_picture(tmp_path / "suspect.png", 3)
    running.pipe("analyst", "sh", "-c", "cat > suspect.png", content=reference.read_bytes())
    running.compose("exec", "-T", "analyst", "simquery", "query", "suspect.png", "-k", "3", "--sheet", "hits.png")
    sheet = tmp_path / "hits.png"
    sheet.write_bytes(running.pipe("analyst", "cat", "hits.png"))
    with Image.open(sheet) as drawn:
        assert drawn.width > 100


def test_marks_are_by_the_analysts_key_and_analysts_cannot_index(running: Project) -> None:
    saved = running.tries("exec", "-T", "analyst", "simquery", "query", "/evidence/1.png", "-k", "3", "--save")
    query = re.search(r"Saved as (\S+):", saved.stderr + saved.stdout)
    assert query is not None, saved
    running.compose("exec", "-T", "analyst", "simquery", "mark", query[1], "1", "--as", "relevant")
    (mark,) = json.loads(running.compose("exec", "-T", "analyst", "simquery", "mark", query[1], "--json"))["marks"]
    assert "simquery-analyst" in mark["by"]
    refused = running.tries("exec", "-T", "analyst", "simquery", "index", "/evidence")
    assert refused.returncode != 0
    assert "does not allow this" in refused.stderr


def test_only_kibana_is_published_and_on_loopback_alone(running: Project) -> None:
    for service in running.states("State"):
        if service != "kibana":
            assert not running.container(service)["HostConfig"]["PortBindings"], service
    config = json.loads(running.compose("--profile", "*", "config", "--format", "json"))
    published = {name: service["ports"] for name, service in config["services"].items() if "ports" in service}
    assert [port["host_ip"] for port in published.pop("kibana")] == ["127.0.0.1"]
    assert not published


def test_everything_but_kibana_is_in_networks_without_a_way_out(running: Project) -> None:
    for service in running.states("State"):
        if service == "kibana":
            continue
        for network in running.container(service)["NetworkSettings"]["Networks"].values():
            (facts,) = json.loads(running.engine.docker("network", "inspect", network["NetworkID"]))
            assert facts["Internal"] is True, service


def test_processes_have_no_privileges_and_write_nowhere_but_where_they_should(running: Project) -> None:
    look = (
        "import os; print(open('/proc/self/status').read());"
        " print(os.access('/', os.W_OK), os.access('/evidence', os.W_OK))"
    )
    for service in ("indexer", "analyst"):
        said = running.compose("exec", "-T", service, "python", "-c", look)
        assert re.search(r"^Uid:\s+1000\s", said, re.MULTILINE)
        assert re.search(r"^CapBnd:\s+0+$", said, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", said, re.MULTILINE)
        assert "False False" in said


def secret_words(files: dict[str, str]) -> Iterator[str]:
    """Yield the secrets, which must not appear anywhere."""
    for path, text in files.items():
        if path.endswith("-password"):
            yield text.strip()
        elif path.endswith(".key"):
            yield text.splitlines()[1]
        elif path.endswith("simquery.toml"):
            yield from (value for name, value in tomllib.loads(text).items() if name in {"api_key", "password"})
        elif path.endswith("kibana.yml"):
            lines = dict(line.split(": ", 1) for line in text.splitlines())
            yield from (json.loads(value) for name, value in lines.items() if name.endswith(("Token", "encryptionKey")))


def test_no_secret_is_in_a_log_an_inspection_or_a_process_list(running: Project) -> None:
    words = set(secret_words(running.secrets()))
    assert len(words) > 8
    numbers = running.compose("ps", "--all", "--quiet").split()
    seen = {
        "logs": running.compose("logs", "--no-color"),
        "inspect": running.engine.docker("inspect", *numbers),
        "config": running.compose("--profile", "*", "config"),
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            seen[f"process {process.name}"] = (process / "cmdline").read_text(errors="replace")
        except OSError:
            continue  # it has ended
    # Elastic's entry point puts the password into its own environment; ours must not.
    for service in ("indexer", "analyst"):
        own = Path("/proc", str(running.container(service)["State"]["Pid"]), "environ")
        if os.access(own, os.R_OK):
            seen[f"environment of {service}"] = own.read_text(errors="replace")
    for where, text in seen.items():
        assert not [word for word in words if word in text], where


def test_every_service_becomes_healthy(running: Project) -> None:
    until(lambda: set(running.states("Health").values()) == {"healthy"}, "all services are healthy")
    assert {"elasticsearch", "indexer", "analyst"} <= set(running.states("Health"))


def test_down_and_up_again_make_nothing_anew(running: Project) -> None:
    secrets, pictures = running.secrets(), running.pictures()
    running.compose("down")
    running.up()
    assert running.secrets() == secrets
    assert f"0 indexed, 0 duplicate, 0 unreadable, 0 skipped, {pictures} unchanged" in running.compose(
        "logs", "indexer"
    )
    assert running.pictures() == pictures


def test_a_killed_elasticsearch_is_waited_for(running: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can kill a process in a container")
    before = running.pictures()
    indexer = running.container("indexer")["State"]["StartedAt"]
    kill(running, "elasticsearch")
    save_picture(running.evidence / "200.png", 200)
    until(lambda: running.states("Health").get("elasticsearch") == "healthy", "Elasticsearch is back")
    until(lambda: running.pictures() == before + 1, "the indexer goes on")
    assert running.container("indexer")["State"]["StartedAt"] == indexer
    assert running.container("indexer")["RestartCount"] == 0


def test_sigterm_ends_the_indexer_before_docker_kills_it(running: Project) -> None:
    running.compose("stop", "indexer")
    assert running.container("indexer")["State"]["ExitCode"] == 0
    running.compose("start", "indexer")


def test_unreadable_evidence_fails_up_and_is_said_clearly(running: Project, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    failed = running.tries("up", "--detach", EVIDENCE=str(locked))
    said = running.compose("logs", "evidence")
    running.up()
    assert failed.returncode != 0
    assert "evidence" in failed.stderr
    assert "cannot read the folder that EVIDENCE names" in said
    assert "Traceback" not in said


def test_weights_are_brought_in_and_used(running: Project, weights: Path) -> None:
    (file,) = weights.glob("mobilenetv2.weights.h5")
    stick = f"{weights}:/stick:ro"
    add = ("indexer", "models", "add", "mobilenetv2", f"/stick/{file.name}")
    running.compose("run", "--rm", "--no-deps", "--volume", stick, *add)
    running.set(MODEL="mobilenetv2")
    running.up()
    found = running.query("/evidence/2.png", "-k", "1")
    assert found["model"] == "mobilenetv2"
    assert found["hits"][0]["paths"] == ["/evidence/2.png"]


def test_a_new_data_volume_under_old_secrets_gets_new_keys(running: Project) -> None:
    pictures = len(list(running.evidence.iterdir()))
    before = running.secrets()
    running.compose("down")
    running.engine.docker("volume", "rm", f"{running.name}_elasticsearch-data")
    running.set(MODEL="mini")
    running.up()
    after = running.secrets()
    assert running.pictures() == pictures
    assert {path for path in before if before[path] != after[path]} == {
        "/look/indexer-secrets/simquery.toml",
        "/look/analyst-secrets/simquery.toml",
        "/look/kibana-secrets/kibana.yml",
    }


def test_images_that_were_saved_and_loaded_run_without_building(running: Project, tmp_path: Path) -> None:
    config: dict[str, Any] = json.loads(running.compose("config", "--format", "json"))
    images = sorted({service["image"] for service in config["services"].values()})
    pictures = running.pictures()
    archive = tmp_path / "simquery.tar"
    running.engine.docker("save", "--output", str(archive), *images)
    running.compose("down")
    running.engine.docker("image", "rm", *images)
    running.engine.docker("load", "--input", str(archive))
    archive.unlink()
    # What the other machine is given, and nothing else.
    sources, running.folder = running.folder, tmp_path / "other"
    try:
        for name in (".env", *config_files(sources)):
            (running.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sources / name, running.folder / name)
        running.up("--no-build")
        assert running.pictures() == pictures
    finally:
        running.folder = sources


def config_files(folder: Path) -> list[str]:
    settings = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())
    return settings["COMPOSE_FILE"].split(":")


@pytest.fixture
def enough_maps() -> Iterator[None]:
    """Set the kernel limit that a cluster requires, and restore it afterwards."""
    setting, needed = Path("/proc/sys/vm/max_map_count"), 262144
    before = setting.read_text()
    if int(before) >= needed:
        yield
        return
    if not os.access(setting, os.W_OK):
        pytest.skip(f"vm.max_map_count is {int(before)}, and a cluster needs {needed}")
    setting.write_text(str(needed))
    yield
    setting.write_text(before)


@pytest.mark.usefixtures("enough_maps")
def test_of_three_nodes_one_can_be_lost(running: Project) -> None:
    running.set(CLUSTER)
    running.up()
    until(lambda: running.status()["health"] == "green", "every picture is on two nodes")
    ranking = running.query("/evidence/1.png", "--all")["hits"]
    running.compose("kill", "elasticsearch")
    until(lambda: running.status()["health"] in {"yellow", "green"}, "the others go on")
    assert running.query("/evidence/1.png", "--all")["hits"] == ranking
    drop(running, 300)
    running.compose("start", "elasticsearch")
    until(lambda: running.status()["health"] == "green", "the lost node is back")
