import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from simquery.cli.main import cli
from simquery.embedders import Embedder, build_embedder, registry
from simquery.embedders import keras as keras_embedders
from simquery.embedders.keras import KerasEmbedder
from simquery.errors import EmbedderError
from simquery.settings import load_settings

BATCH = np.random.default_rng(5).integers(0, 256, (21, 112, 112, 3), dtype=np.uint8)


def mini(inference: str) -> Embedder:
    return build_embedder(load_settings(model="mini", inference=inference))


def test_openvino_gives_the_embeddings_of_tensorflow_under_the_same_fingerprint() -> None:
    slow, fast = mini("tensorflow"), mini("openvino")
    assert isinstance(slow, KerasEmbedder)
    assert isinstance(fast, KerasEmbedder)
    assert (slow.inference, fast.inference) == ("tensorflow", "openvino")
    assert slow.fingerprint == fast.fingerprint
    expected, found = slow.embed(BATCH), fast.embed(BATCH)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))
    np.testing.assert_array_equal(fast.embed(BATCH[::-1].copy())[::-1], found)
    np.testing.assert_array_equal(fast.embed(BATCH[3:4])[0], found[3])


def test_several_threads_may_embed_at_once() -> None:
    embedder = mini("openvino")
    expected = embedder.embed(BATCH)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(embedder.embed, [BATCH] * 12):
            np.testing.assert_array_equal(found, expected)


def test_openvino_is_used_where_it_is_installed_and_faster_and_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "has_gpu", lambda: False)
    assert mini("auto").inference == "tensorflow"  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "_FASTER_IN_TENSORFLOW", frozenset())
    assert mini("auto").inference == "openvino"  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "has_gpu", lambda: True)
    assert mini("auto").inference == "tensorflow"  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "is_installed", lambda: False)
    assert mini("auto").inference == "tensorflow"  # type: ignore[attr-defined]
    with pytest.raises(EmbedderError, match=r"pip install 'simquery\[cpu\]'"):
        mini("openvino")


def test_openvino_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(keras_embedders.CpuInference):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            return super().__call__(batch) * 1.001

    monkeypatch.setattr(keras_embedders, "CpuInference", Off)
    assert mini("openvino").inference == "tensorflow"  # type: ignore[attr-defined]


def test_mixed_precision_is_another_fingerprint_and_nearly_the_same_vectors() -> None:
    exact, mixed = mini("tensorflow"), build_embedder(load_settings(model="mini", precision="mixed"))
    assert mixed.fingerprint != exact.fingerprint
    assert mixed.inference == "tensorflow mixed_float16"  # type: ignore[attr-defined]
    expected, found = exact.embed(BATCH), mixed.embed(BATCH)
    assert found.dtype == np.float32
    differences = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 1e-6 < differences.max() < 1e-2


def test_mixed_precision_is_refused_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbedderError, match="OpenVINO computes in float32"):
        build_embedder(load_settings(model="mini", precision="mixed", inference="openvino"))
    monkeypatch.setenv("SIMQUERY_EMBEDDERS", '{"mean": "tests.plain:Mean"}')
    with pytest.raises(EmbedderError, match="not a Keras network"):
        build_embedder(load_settings(model="mean", precision="mixed"))


def test_nothing_reports_to_the_maker_of_openvino() -> None:
    mini("openvino")
    assert sys.modules["openvino_telemetry"] is None


def test_a_batch_too_large_for_the_memory_is_halved() -> None:
    inputs = keras.Input((8, 8, 3))
    embedder = KerasEmbedder("small", keras.Model(inputs, keras.layers.Flatten()(inputs)))
    whole, features = embedder.embed(BATCH[:, :8, :8]), embedder._features

    def crowded(batch: np.ndarray) -> object:
        if len(batch) > 4:
            raise embedder._out_of_memory(None, None, "out of memory")
        return features(batch)

    embedder._features = crowded
    np.testing.assert_array_equal(embedder.embed(BATCH[:, :8, :8]), whole)
    assert embedder._batch <= 5


def test_a_batch_of_several_steps_stays_whole_when_memory_runs_out_in_one() -> None:
    inputs = keras.Input((8, 8, 3))
    embedder = KerasEmbedder("small", keras.Model(inputs, keras.layers.Flatten()(inputs)))
    pictures = np.random.default_rng(5).integers(0, 256, (100, 8, 8, 3), dtype=np.uint8)
    whole, features = embedder.embed(pictures), embedder._features

    def crowded(batch: np.ndarray) -> object:
        if len(batch) > 4:
            raise embedder._out_of_memory(None, None, "out of memory")
        return features(batch)

    embedder._features = crowded
    np.testing.assert_array_equal(embedder.embed(pictures), whole)


def test_a_picture_that_is_left_over_gets_the_vector_that_it_gets_alone_and_among_others() -> None:
    embedder = mini("tensorflow")
    pictures = np.concatenate([BATCH, BATCH])[:33]
    together = embedder.embed(pictures)
    np.testing.assert_array_equal(together[32:], embedder.embed(pictures[32:]))
    np.testing.assert_array_equal(together[32], together[11])  # the same picture, in the batch before


def test_memory_that_is_too_small_for_one_picture_is_an_error_that_names_the_model() -> None:
    inputs = keras.Input((8, 8, 3))
    embedder = KerasEmbedder("small", keras.Model(inputs, keras.layers.Flatten()(inputs)))

    def full(batch: np.ndarray) -> object:
        raise embedder._out_of_memory(None, None, "out of memory")

    embedder._features = full
    with pytest.raises(EmbedderError, match="Model 'small' runs out of memory with a single picture"):
        embedder.embed(BATCH[:, :8, :8])


def test_bench_measures_each_way_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMQUERY_EMBEDDERS", '{"mean": "tests.plain:Mean"}')
    result = CliRunner().invoke(cli, ["models", "bench", "mean", "--seconds", "0.1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "openvino, pictures/s" in result.output
