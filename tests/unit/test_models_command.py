import json
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner

from simquery.cli.main import cli
from simquery.errors import UnknownModelError, WeightsError

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``simquery models …`` on a machine whose Keras cache is empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # no download, whatever the network

    def invoke(*arguments: object) -> str:
        result = CliRunner().invoke(cli, ["models", *map(str, arguments)])
        if result.exception:
            raise result.exception
        return result.output

    return invoke


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """Weights as they are fetched on a connected machine."""
    (tmp_path / "connected").mkdir()
    file = tmp_path / "connected" / "mobilenet.weights.h5"
    keras.applications.MobileNet(weights=None, include_top=False).save_weights(file)
    return file


def rows(output: str) -> dict[str, dict[str, object]]:
    return {row["model"]: row for row in json.loads(output)}


def test_weights_travel_from_a_connected_machine_to_another(
    run: Run, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows(run("list", "--json"))["mobilenet"]["weights"] == "to be downloaded"
    monkeypatch.setenv("SIMQUERY_WEIGHTS_DIR", str(weights_file.parent))
    run("fetch", "mobilenet", "--to", tmp_path / "stick")
    monkeypatch.delenv("SIMQUERY_WEIGHTS_DIR")

    run("add", "mobilenet", tmp_path / "stick" / "mobilenet.weights.h5")
    here = tmp_path / "keras" / "models" / "mobilenet.weights.h5"
    assert rows(run("list", "--json"))["mobilenet"]["weights"] == str(here)
    assert here.read_bytes() == weights_file.read_bytes()
    assert {path.name for path in here.parent.iterdir()} == {"mobilenet.weights.h5"}


def test_weights_that_changed_on_the_way_are_refused(
    run: Run, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMQUERY_WEIGHTS_DIR", str(weights_file.parent))
    run("fetch", "mobilenet", "--to", tmp_path / "stick")
    monkeypatch.delenv("SIMQUERY_WEIGHTS_DIR")
    carried = tmp_path / "stick" / "mobilenet.weights.h5"
    keras.applications.MobileNet(weights=None, include_top=False).save_weights(carried)
    with pytest.raises(WeightsError, match="is not the file that was fetched"):
        run("add", "mobilenet", carried)
    assert rows(run("list", "--json"))["mobilenet"]["weights"] == "to be downloaded"


def test_weights_of_another_network_are_refused(run: Run, weights_file: Path) -> None:
    with pytest.raises(WeightsError, match="does not hold the weights of 'resnet50'"):
        run("add", "resnet50", weights_file)


def test_weights_that_cannot_be_downloaded_are_an_error(run: Run) -> None:
    with pytest.raises(WeightsError, match="downloading them failed"):
        run("fetch", "mobilenet")


@pytest.mark.parametrize("name", ["mini", "resnet5000"])
def test_what_has_no_weights_to_bring_is_an_error(run: Run, name: str) -> None:
    with pytest.raises(UnknownModelError, match="has no weights to fetch or add"):
        run("fetch", name)


def test_the_table_names_every_network(run: Run) -> None:
    output = run("list")
    for name in ("mini", "inceptionresnetv2", "nasnetlarge", "vgg16"):
        assert name in output
