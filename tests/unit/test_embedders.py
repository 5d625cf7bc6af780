import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from simquery.embedders import (
    Embedder,
    Features,
    Pixels,
    build_embedder,
    check_model_name,
    is_usable,
    model_names,
    registry,
)
from simquery.embedders.networks import NETWORKS
from simquery.errors import EmbedderError, UnknownModelError, WeightsError
from simquery.settings import load_settings

BATCH = np.random.default_rng(5).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)

# de Bie 2020, table 3.1; cut and dimensions as in Keras' documentation of each network
THESIS = {
    "xception": ("avg_pool", 2048, 299),
    "vgg16": ("fc2", 4096, 224),
    "vgg19": ("fc2", 4096, 224),
    "resnet50": ("avg_pool", 2048, 224),
    "inceptionresnetv2": ("avg_pool", 1536, 299),
    "nasnetlarge": ("avg_pool", 4032, 331),
}


class Tiny:
    """A lab's own embedder: the mean colour."""

    name = "tiny"
    dims = 3
    input_size = (8, 8)
    fingerprint = "1" * 64

    def embed(self, batch: Pixels) -> Features:
        return batch.mean(axis=(1, 2)).astype(np.float32)


def test_the_networks_of_the_thesis_are_all_there() -> None:
    for name, facts in THESIS.items():
        network = NETWORKS[name]
        assert (network.layer, network.dims, network.side) == facts


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_is_cut_where_it_says(name: str) -> None:
    """Built for real, with random weights: what is left after the cut, its length and its input."""
    network = NETWORKS[name]
    build = getattr(keras.applications, network.application)
    full = build(weights=None, **network.arguments)
    assert full.layers[-1].name == "predictions"
    assert full.input_shape[1:3] == (network.side, network.side)
    pooled = [layer.name for layer in full.layers if layer.output.shape == (None, network.dims)]
    if network.include_top:
        assert pooled[-1] == network.layer == full.layers[-2].name
    else:
        cut = build(
            weights=None,
            include_top=False,
            pooling="avg",
            input_shape=(network.side, network.side, 3),
            **network.arguments,
        )
        assert cut.output_shape == (None, network.dims)
        # Nothing but the weights and biases of the thousand classes has been left out.
        assert full.count_params() - cut.count_params() == (network.dims + 1) * 1000


@pytest.mark.parametrize("name", ["mobilenetv2-0.35", "mobilenet", "resnet50"])
def test_weights_from_a_file_give_what_keras_gives(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    side = network.side
    model = getattr(keras.applications, network.application)(
        weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3), **network.arguments
    )
    model.save_weights(tmp_path / f"{name}.weights.h5")
    embedder = build_embedder(load_settings(model=name, weights_dir=tmp_path))
    prepared = getattr(keras.applications, network.module).preprocess_input(BATCH.astype(np.float32))
    expected = model.predict(prepared, verbose=0)
    features = embedder.embed(BATCH)
    assert (features.shape, features.dtype) == ((3, network.dims), np.float32)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", ["mobilenetv2-0.35", "xception"])
def test_weights_in_keras_own_file_are_found_as_well(name: str, tmp_path: Path) -> None:
    """The files that Keras downloads have a name of their own, and the format of Keras 2."""
    network = NETWORKS[name]
    model = getattr(keras.applications, network.application)(
        weights=None, include_top=False, input_shape=(network.side, network.side, 3), **network.arguments
    )
    with h5py.File(tmp_path / network.keras_file, "w") as file:
        save_weights_to_hdf5_group(file, model)
    from_keras_file = build_embedder(load_settings(model=name, weights_dir=tmp_path))
    (tmp_path / network.keras_file).unlink()
    model.save_weights(tmp_path / f"{name}.weights.h5")
    assert build_embedder(load_settings(model=name, weights_dir=tmp_path)).fingerprint == from_keras_file.fingerprint


def test_another_layer_makes_another_embedder(tmp_path: Path) -> None:
    model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(224, 224, 3))
    model.save_weights(tmp_path / "mobilenet.weights.h5")
    usual = build_embedder(load_settings(model="mobilenet", weights_dir=tmp_path))
    shallow = build_embedder(load_settings(model="MobileNet@conv_pw_5_relu", weights_dir=tmp_path))
    assert (shallow.name, shallow.dims) == ("mobilenet@conv_pw_5_relu", 256)
    assert shallow.fingerprint != usual.fingerprint
    feature_map = keras.Model(model.input, model.get_layer("conv_pw_5_relu").output).predict(
        keras.applications.mobilenet.preprocess_input(BATCH.astype(np.float32)), verbose=0
    )
    np.testing.assert_allclose(shallow.embed(BATCH), feature_map.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    with pytest.raises(UnknownModelError, match=r"has no layer 'conv_99'\. Its last layers are: "):
        build_embedder(load_settings(model="mobilenet@conv_99", weights_dir=tmp_path))


def test_the_order_and_size_of_a_batch_do_not_matter(weights: Path) -> None:
    embedder = build_embedder(load_settings(model="mobilenetv2", weights_dir=weights))
    together = embedder.embed(BATCH)
    np.testing.assert_array_equal(embedder.embed(BATCH[::-1].copy())[::-1], together)
    np.testing.assert_array_equal(embedder.embed(BATCH[1:2])[0], together[1])


def test_missing_weights_say_exactly_which_file_to_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # no download, whatever the network
    with pytest.raises(WeightsError) as caught:
        build_embedder(load_settings(model="xception", weights_dir=tmp_path))
    message = str(caught.value)
    assert "xception_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert "simquery models fetch xception" in message
    assert str(tmp_path) in message
    assert "mini" in message


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    keras.applications.MobileNet(weights=None, include_top=False).save_weights(tmp_path / "resnet50.weights.h5")
    with pytest.raises(WeightsError, match=r"resnet50\.weights\.h5' does not hold the weights of 'resnet50'"):
        build_embedder(load_settings(model="resnet50", weights_dir=tmp_path))


def test_a_weights_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="which is not a folder"):
        build_embedder(load_settings(model="resnet50", weights_dir=tmp_path / "nowhere"))


def test_a_lab_adds_a_keras_file_through_the_settings(tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Conv2D(5, 3)(keras.layers.Rescaling(1 / 255)(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "lab.keras")
    embedder = build_embedder(load_settings(model="lab", embedders={"lab": str(tmp_path / "lab.keras")}))
    assert (embedder.name, embedder.dims, embedder.input_size) == ("lab", 5, (16, 16))
    assert embedder.embed(BATCH[:, :16, :16]).shape == (3, 5)


@pytest.mark.parametrize("content", [None, b"not keras"])
def test_a_keras_file_that_is_none_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "lab.keras"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"lab\.keras"):
        build_embedder(load_settings(model="lab", embedders={"lab": str(file)}))


def own(file: Path) -> Embedder:
    return build_embedder(load_settings(model="lab", embedders={"lab": str(file)}))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_fingerprint_of_a_keras_file_covers_its_architecture(tmp_path: Path, suffix: str) -> None:
    def saved(name: str, scale: float, activation: str, pooling: type) -> Embedder:
        inputs = keras.Input((16, 16, 3), name="pixels")
        scaled = keras.layers.Rescaling(scale, name="scaled")(inputs)
        features = keras.layers.Conv2D(
            4, 3, activation=activation, kernel_initializer="ones", bias_initializer="ones", name="features"
        )(scaled)
        keras.Model(inputs, pooling(name="pooled")(features), name="lab").save(tmp_path / f"{name}.{suffix}")
        return own(tmp_path / f"{name}.{suffix}")

    mean, largest = keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras advises against .h5
        fingerprints = [
            saved("usual", 1 / 255, "relu", mean).fingerprint,
            saved("scaled", 1 / 127.5, "relu", mean).fingerprint,
            saved("active", 1 / 255, "tanh", mean).fingerprint,
            saved("pooled", 1 / 255, "relu", largest).fingerprint,
        ]
        again = saved("again", 1 / 255, "relu", mean).fingerprint
    assert len(set(fingerprints)) == 4
    assert own(tmp_path / f"usual.{suffix}").fingerprint == again == fingerprints[0]


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_keras_file_with_code_is_refused_and_its_code_not_run(tmp_path: Path, suffix: str) -> None:
    mark = str(tmp_path / "code-was-run")
    inputs = keras.Input((16, 16, 3))

    hostile = keras.layers.Lambda(lambda x, mark=mark: (Path(mark).touch(), x)[1])
    model = keras.Model(inputs, keras.layers.Flatten()(hostile(inputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / f"lab.{suffix}")
    Path(mark).unlink()
    with pytest.raises(WeightsError, match=rf"lab\.{suffix}' contains code .* which simquery does not run"):
        own(tmp_path / f"lab.{suffix}")
    assert not Path(mark).exists()


def test_a_keras_file_with_several_outputs_is_an_error(tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 3))
    flat = keras.layers.Flatten()(inputs)
    keras.Model(inputs, [flat, flat]).save(tmp_path / "lab.keras")
    with pytest.raises(WeightsError, match="must return one vector of a fixed length, or one feature map"):
        own(tmp_path / "lab.keras")


def test_a_lab_adds_a_class_through_the_settings() -> None:
    settings = load_settings(model="tiny", embedders={"tiny": f"{__name__}:Tiny"})
    assert "tiny" in model_names(settings)
    assert isinstance(build_embedder(settings), Embedder)


def test_code_is_loaded_only_when_its_model_is_asked_for_and_the_log_names_it(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    point = EntryPoint("mini", f"{__name__}:Tiny", registry.ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == point.group else [])
    assert build_embedder(load_settings(model="mini", embedders={"tiny": "nowhere:Thing"})).fingerprint != "1" * 64
    assert "runs the code" not in log.text
    build_embedder(load_settings(model="tiny", embedders={"tiny": f"{__name__}:Tiny"}))
    assert f"model 'tiny' runs the code '{__name__}:Tiny', which the setting 'embedders' names" in log.text


class Odd(Tiny):
    """An embedder that returns invalid vectors."""

    name = "odd"
    answer: object = None

    def embed(self, batch: Pixels) -> Features:  # noqa: ARG002
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((3, 4), np.float32), r"Model 'odd' returns features of shape \(3, 4\) for 3 pictures"),
        (np.zeros((2, 3), np.float32), r"Model 'odd' returns features of shape \(2, 3\)"),
        (np.zeros(3, np.float32), r"Model 'odd' returns features of shape \(3,\)"),
        ("vectors", "Model 'odd' fails: ValueError"),
        (MemoryError("no room"), "Model 'odd' fails: MemoryError: no room"),
    ],
)
def test_what_an_own_embedder_must_not_give_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, answer: object, message: str
) -> None:
    monkeypatch.setattr(Odd, "answer", answer)
    embedder = build_embedder(load_settings(model="odd", embedders={"odd": f"{__name__}:Odd"}))
    with pytest.raises(EmbedderError, match=message):
        embedder.embed(BATCH[:, :8, :8])


@pytest.mark.parametrize(
    ("vector", "usable"),
    [
        ([1.0, 2.0, 3.0], True),
        ([1e18, 1e18, 1e18], True),
        ([0.0, 0.0, 0.0], False),
        ([1e30, 0.0, 0.0], False),
        ([1e-30, 0.0, 0.0], False),
        ([np.nan, 1.0, 1.0], False),
        ([np.inf, 1.0, 1.0], False),
        ([1e300, 1.0, 1.0], False),
    ],
)
def test_a_vector_is_usable_when_elasticsearch_can_compute_with_it(
    monkeypatch: pytest.MonkeyPatch, vector: list[float], *, usable: bool
) -> None:
    monkeypatch.setattr(Odd, "answer", np.array([vector]))
    embedder = build_embedder(load_settings(model="odd", embedders={"odd": f"{__name__}:Odd"}))
    assert is_usable(embedder.embed(BATCH[:1, :8, :8])[0]) is usable


def test_a_package_adds_a_class_through_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("tiny", f"{__name__}:Tiny", registry.ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == point.group else [])
    assert build_embedder(load_settings(model="tiny")).fingerprint == "1" * 64


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere:Thing", "No module named 'nowhere'"),
        (f"{__name__}:Missing", "Missing"),
        ("builtins:list", "is not an embedder"),
        (f"{__name__}:Tiny", "has the name 'tiny'"),
    ],
)
def test_an_own_embedder_that_does_not_work_is_an_error(target: str, message: str) -> None:
    with pytest.raises(EmbedderError, match=message):
        build_embedder(load_settings(model="own", embedders={"own": target}))


@pytest.mark.parametrize("name", ["resnet5000", "", "../etc", "vgg 16", "mini*"])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownModelError, match="Choose from: inceptionresnetv2, mini, mobilenet"):
        check_model_name(name, load_settings())


def test_names_are_found_whatever_their_case() -> None:
    assert check_model_name("InceptionResNetV2", load_settings()) == "inceptionresnetv2"


def test_nothing_loads_tensorflow_before_it_is_needed() -> None:
    program = (
        "import sys, simquery.cli.main, simquery.embedders, simquery.embedders.networks, simquery.indexer;"
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
