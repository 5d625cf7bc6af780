"""Networks of the thesis go through the evaluation like any other, with weights files that the test writes.

One of the six each time; all of them, which takes minutes, with ``SIMQUERY_TEST_NETWORKS=all``.
"""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from simquery.embedders.networks import NETWORKS
from simquery.evaluation.dataset import read_dataset
from simquery.evaluation.harness import Condition
from simquery.evaluation.measures import parse_measures
from simquery.evaluation.run import Protocol, judge_networks
from simquery.settings import load_settings
from tests.conftest import save_picture

THESIS = ("xception", "vgg16", "vgg19", "resnet50", "inceptionresnetv2", "nasnetlarge")
TRIED = THESIS if os.environ.get("SIMQUERY_TEST_NETWORKS") == "all" else ("resnet50",)


@pytest.mark.parametrize("name", TRIED)
def test_a_network_of_the_thesis_is_evaluated_with_weights_from_a_file(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    arguments = dict(network.arguments) | {"include_top": network.include_top}
    if not network.include_top:
        arguments["input_shape"] = (network.side, network.side, 3)
    model = getattr(keras.applications, network.application)(weights=None, **arguments)
    model.save_weights(tmp_path / f"{name}.weights.h5")
    for seed in range(6):
        save_picture(tmp_path / "classes" / ("even" if seed % 2 else "odd") / f"{seed}.png", seed)
    settings = load_settings(model=name, weights_dir=tmp_path, cache=tmp_path / "cache")
    protocol = Protocol((name,), measures=parse_measures(["P@2", "nAUIRC"]), references=2, several=1, augment=False)
    evaluation = judge_networks(read_dataset(tmp_path / "classes"), protocol, settings)
    assert evaluation.manifest["determined_by"]["models"].keys() == {name}
    for distance in protocol.distances:
        values = evaluation.results.values[Condition(name, distance)]
        assert values.shape == (2, 2)
        assert np.isfinite(values).all()
    (stored,) = (tmp_path / "cache").rglob("*.npz")
    assert np.load(stored)["vectors"].shape == (6, network.dims)
