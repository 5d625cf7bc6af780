"""What ``docker-compose.yml`` promises: pinned, confined, closed to the outside, evidence read-only."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.cluster.yml", "docker-compose.gpu.yml")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
CLUSTER = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"certificates", "set-up", "dashboards"}


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("files", [FILES[:1], FILES[:2], FILES[::2], FILES])
def test_docker_compose_accepts_the_files(files: tuple[str, ...]) -> None:
    if not has_compose():
        pytest.skip("no docker compose on this machine")
    chosen = [part for file in files for part in ("--file", file)]
    command = ["docker", "compose", "--env-file", ".env.example", *chosen, "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_kibana_is_published_and_by_default_on_loopback() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "kibana": ["${KIBANA_ADDRESS:-127.0.0.1}:${KIBANA_PORT:-5601}:5601"]
    }
    assert COMPOSE["networks"]["cluster"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "door" in service.get("networks", [])} == {"kibana"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_limited_and_not_root(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].startswith("1000:")
    assert "mem_limit" in service
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)
    assert re.search(r":(\d+\.\d+\.\d+|\$\{SIMQUERY_TAG:-\d+\.\d+\.\d+\})$", service["image"])


def test_elasticsearch_and_kibana_have_the_same_version() -> None:
    assert {SERVICES[name]["image"].rpartition(":")[2] for name in ("elasticsearch", "kibana")} == {"9.4.3"}


def test_the_evidence_is_mounted_read_only_into_the_indexer_alone() -> None:
    binds = [
        (name, volume)
        for name, service in SERVICES.items()
        for volume in service["volumes"]
        if isinstance(volume, dict) and volume["type"] == "bind"
    ]
    ((name, evidence),) = binds
    assert (name, evidence["target"], evidence["read_only"]) == ("indexer", "/evidence", True)


def test_secrets_are_mounted_only_where_they_are_needed() -> None:
    mounted: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service["volumes"]:
            if isinstance(volume, str):
                mounted.setdefault(volume.split(":")[0], set()).add(name)
    assert mounted["own"] == ONCE
    assert mounted["elasticsearch-secrets"] == {"certificates", "elasticsearch"}
    assert mounted["kibana-secrets"] == {"certificates", "set-up", "kibana"}
    assert mounted["indexer-secrets"] == {"set-up", "indexer"}
    assert set(mounted) <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", ["elasticsearch-2", "elasticsearch-3"])
def test_the_nodes_of_the_cluster_are_as_the_first_one(name: str) -> None:
    first, node = SERVICES["elasticsearch"], CLUSTER["services"][name]
    own = {"environment", "volumes", "networks", "depends_on"}
    assert {key: value for key, value in node.items() if key not in own} == {
        key: value for key, value in first.items() if key not in own
    }
    assert node["environment"] == first["environment"] | CLUSTER["services"]["elasticsearch"]["environment"] | {
        "node.name": name
    }
    assert node["volumes"] == [volume.replace("elasticsearch-", f"{name}-", 1) for volume in first["volumes"]]
    assert node["networks"] == {"cluster": {"aliases": ["elasticsearch"]}}
    # The first node may hold a case already: were it not there, the others would found a cluster without it.
    assert node["depends_on"]["elasticsearch"] == {"condition": "service_healthy"}


def test_the_cluster_publishes_nothing_and_makes_a_certificate_for_each_node() -> None:
    services, nodes = CLUSTER["services"], ["elasticsearch", "elasticsearch-2", "elasticsearch-3"]
    assert not [name for name, service in services.items() if "ports" in service]
    assert services["certificates"]["environment"]["SIMQUERY_SET_UP_NODES"].split(",") == nodes
    assert services["elasticsearch"]["environment"]["cluster.initial_master_nodes"].split(",") == nodes
    for name in nodes[1:]:
        assert f"{name}-secrets:/run/simquery/{name}" in services["certificates"]["volumes"]
        assert {f"{name}-secrets", f"{name}-data"} <= set(CLUSTER["volumes"])
        assert re.search(rf"for volume in .*\b{name}\b", (ROOT / "Dockerfile").read_text("utf-8"))


def test_no_secret_is_in_an_environment() -> None:
    for service in [*SERVICES.values(), *CLUSTER["services"].values()]:
        named = {name for name in service.get("environment", {}) if re.search("PASSWORD|KEY|TOKEN", name.upper())}
        assert named <= {
            "ELASTIC_PASSWORD_FILE",
            "xpack.security.http.ssl.key",
            "xpack.security.transport.ssl.key",
        }


def test_every_variable_is_explained_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text("utf-8"))) - {"SIMQUERY_TAG"}
    explained = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert used == explained


def test_the_image_has_everything_that_the_package_is_made_of() -> None:
    copied = re.findall(r"^COPY (\S+) \1$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    folders = set(re.findall(r'^"?simquery(?:\.\w+)?"? = "([\w/]+)"$', pyproject, re.MULTILINE))
    assert {folder.split("/")[0] for folder in folders} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"!{folder.split('/')[0]}" for folder in folders} <= set(ignored)
