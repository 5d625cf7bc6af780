"""What ``docker-compose.yml`` promises: pinned, confined, closed to the outside, evidence read-only."""

import json
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from simquery.mappings import files_index, images_index, marks_index, results_index

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.cluster.yml", "docker-compose.gpu.yml")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
CLUSTER = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text("utf-8"))
ONCE = {"certificates", "evidence", "set-up", "dashboards"}


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
    assert service["dns"] == ["127.0.0.1"]
    assert "mem_limit" in service
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)
    assert re.search(r":(\d+\.\d+\.\d+|\$\{SIMQUERY_TAG:-\d+\.\d+\.\d+\})$", service["image"])


def test_elasticsearch_and_kibana_have_the_same_version() -> None:
    assert {SERVICES[name]["image"].rpartition(":")[2] for name in ("elasticsearch", "kibana")} == {"9.4.3"}


def test_no_two_services_build_the_same_image_and_none_is_pulled() -> None:
    services = [*SERVICES.values(), SERVICES["indexer"] | GPU["services"]["indexer"]]
    built = [service["image"] for service in services if "build" in service]
    ours = [service for service in services if service["image"].startswith("simquery:")]
    assert len(built) == len(set(built))
    assert {service["image"] for service in ours} == set(built)
    # A public registry has no image of this name, or somebody else's.
    assert {service["pull_policy"] for service in ours} == {"never"}


def test_the_evidence_is_only_ever_mounted_read_only() -> None:
    binds = [
        (name, volume)
        for name, service in SERVICES.items()
        for volume in service["volumes"]
        if isinstance(volume, dict) and volume["type"] == "bind"
    ]
    assert {name for name, _ in binds} == {"evidence", "indexer", "analyst"}
    assert {(volume["target"], volume["read_only"]) for _, volume in binds} == {("/evidence", True)}


def test_secrets_are_mounted_only_where_they_are_needed() -> None:
    mounted: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service["volumes"]:
            if isinstance(volume, str):
                mounted.setdefault(volume.split(":")[0], set()).add(name)
    assert mounted["own"] == {"certificates", "set-up", "dashboards"}
    assert mounted["elasticsearch-secrets"] == {"certificates", "elasticsearch"}
    assert mounted["kibana-secrets"] == {"certificates", "set-up", "kibana"}
    assert mounted["indexer-secrets"] == {"set-up", "indexer"}
    assert mounted["analyst-secrets"] == {"set-up", "analyst"}
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


def test_every_package_in_the_image_is_pinned_by_hash_or_version() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"^ARG PYTHON=\S+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)
    pins = (ROOT / "docker" / "constraints.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned = {pin.partition("==")[0].lower().replace("_", "-") for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked_for = project["dependencies"] + project["optional-dependencies"]["cpu"]
    assert {re.match(r"[\w-]+", name)[0] for name in asked_for} | {"setuptools", "wheel"} <= pinned  # type: ignore[index]


def test_git_ignores_the_file_with_a_users_settings() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_the_image_has_everything_that_the_package_is_made_of() -> None:
    links = {path.name: path.resolve() for path in (ROOT / "src" / "simquery").iterdir() if path.is_symlink()}
    folders = {"src", *(str(path.relative_to(ROOT)) for path in links.values())}
    assert {"indexer", "pictures", "src"} <= folders
    assert folders <= set(re.findall(r"^COPY (\S+) \1$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    assert {f"!{folder}" for folder in folders} <= set((ROOT / ".dockerignore").read_text("utf-8").splitlines())


def test_the_documented_snapshot_holds_all_indices_of_a_case() -> None:
    recipe = re.search(
        r"_snapshot/lab/fraud-7 (\{.*?\})`", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.DOTALL
    )
    assert recipe is not None
    patterns = json.loads(recipe[1])["indices"].split(",")
    held = (files_index("fraud-7"), images_index("fraud-7", "mini"), results_index(), marks_index())
    for index in held:
        assert any(fnmatchcase(index, pattern) for pattern in patterns), index
    # Evidence of another investigation must not travel along.
    assert not any(fnmatchcase(files_index("fraud-70"), pattern) for pattern in patterns)
