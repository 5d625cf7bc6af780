import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from simquery.embedders import build_embedder
from simquery.embedders.mini import archive, mini_embedder, network
from simquery.errors import WeightsError
from simquery.settings import load_settings
from tests.conftest import pixels, save_picture
from training import train, views

HEIGHT, WIDTH = network.INPUT_SIZE
PICTURES = np.stack([pixels(seed, HEIGHT, WIDTH) for seed in range(6)])


def test_it_is_there_without_any_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    embedder = build_embedder(load_settings(model="mini"))
    assert (embedder.name, embedder.dims, embedder.input_size) == ("mini", network.DIMS, network.INPUT_SIZE)


def test_embeddings_have_the_documented_form() -> None:
    embedder = mini_embedder()
    features = embedder.embed(PICTURES)
    assert (features.shape, features.dtype) == ((6, network.DIMS), np.float32)
    assert (features >= 0).all()
    assert (features.sum(axis=1) > 0).all()


def test_the_same_picture_gives_the_same_embedding_whatever_its_batch() -> None:
    embedder = mini_embedder()
    together = embedder.embed(PICTURES)
    np.testing.assert_array_equal(mini_embedder().embed(PICTURES), together)
    np.testing.assert_array_equal(embedder.embed(PICTURES[3:4])[0], together[3])


def test_different_pictures_have_different_embeddings_and_a_darker_copy_is_nearest_to_its_original() -> None:
    # Mirror images are for real photos (see CARD.md): these patterns are nothing but where their colours lie.
    embedder = mini_embedder()
    pictures, darker = embedder.embed(PICTURES), embedder.embed((PICTURES * 0.9).astype(np.uint8))
    unit, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (pictures, darker))
    assert (unit @ unit.T)[~np.eye(6, dtype=bool)].max() < 0.999
    np.testing.assert_array_equal((unit @ other.T).argmax(axis=1), np.arange(6))


def test_the_weights_are_those_of_the_record_and_the_card() -> None:
    record = json.loads(Path(train.__file__).with_name("record.json").read_text())
    assert record["weights"]["bytes"] == archive.PATH.stat().st_size <= 4_000_000
    assert record["weights"]["sha256"] in archive.PATH.with_name("CARD.md").read_text()
    assert record["network"]["dims"] == network.DIMS
    assert len(record["curve"]) == record["settings"]["epochs"]


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    content = bytearray(archive.PATH.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "weights.npz").write_bytes(content)
    shutil.copy(archive.PATH.with_name("weights.npz.sha256"), tmp_path)
    with pytest.raises(WeightsError, match="is damaged"):
        archive.load(tmp_path / "weights.npz")


def test_importing_it_does_not_load_tensorflow() -> None:
    program = "import sys, simquery.embedders.mini; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_eight_bits_are_enough_for_a_kernel() -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 16, 8)).astype(np.float32)
    integers, scale = archive.quantise(kernel)
    assert integers.dtype == np.int8
    assert np.abs(integers * scale - kernel).max() <= 0.51 * scale.max()


def test_folding_does_what_a_convolution_and_its_normalisation_do() -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(1, 8, 8, 3)).astype(np.float32)
    kernel = random.normal(size=(3, 3, 3, 4)).astype(np.float32)
    gain, shift = random.normal(size=(2, 4)).astype(np.float32)
    folded, bias = archive.fold(kernel, gain, shift)

    def convolve(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(keras.ops.conv(x, kernel, padding="same"))

    np.testing.assert_allclose(convolve(folded) + bias, gain * convolve(kernel) + shift, rtol=1e-4, atol=1e-4)


@dataclass(frozen=True)
class School:
    """Photos and a teacher: real in form, random in content, small."""

    photos: Path
    teacher: Path
    cache: Path

    def train(self, out: Path, settings: train.Settings, start: Path | None = None) -> dict[str, Any]:
        return train.train(self.photos, self.teacher, out, settings, self.cache, start=start)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    folder = tmp_path_factory.mktemp("school")
    for seed in range(160):
        save_picture(folder / "photos" / f"{seed}.png", seed)
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    # Random layers leave next to nothing of their input: the last one is turned up until there is something to learn.
    last = model.get_layer("Conv_1_bn")
    last.gamma.assign(last.gamma / np.std(model.predict(np.stack([pixels(0, 224, 224)]) / 127.5 - 1, verbose=0)))
    model.save_weights(folder / "mobilenetv2.weights.h5")
    return School(folder / "photos", folder / "mobilenetv2.weights.h5", folder / "cache")


def test_a_training_that_was_cut_off_goes_on_and_ends_where_it_would_have(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = train.Settings(epochs=2, views=1, batch=16, warm_up=2, bfloat16=False)
    whole = school.train(tmp_path / "whole", settings)

    checkpoint = train.Training._checkpoint

    def die_after_the_first_epoch(self: train.Training) -> None:
        checkpoint(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Training, "_checkpoint", die_after_the_first_epoch)
    with pytest.raises(KeyboardInterrupt):
        school.train(tmp_path / "resumed", settings)
    monkeypatch.undo()
    resumed = school.train(tmp_path / "resumed", settings)

    directions = [[point["direction"] for point in record["curve"]] for record in (whole, resumed)]
    assert directions[1] == pytest.approx(directions[0], rel=1e-2)
    model = archive.load(tmp_path / "resumed" / "weights.npz")
    assert np.asarray(model(PICTURES.astype(np.float32))).shape == (6, network.DIMS)


def test_a_checkpoint_of_another_run_is_not_gone_on_with(school: School, tmp_path: Path) -> None:
    school.train(tmp_path, train.Settings(epochs=1, views=1, batch=16, bfloat16=False))
    with pytest.raises(ValueError, match="belongs to another run"):
        school.train(tmp_path, train.Settings(epochs=2, views=1, batch=16, bfloat16=False))


def test_a_handful_of_photos_is_too_few(school: School, tmp_path: Path) -> None:
    save_picture(tmp_path / "photos" / "1.png")
    with pytest.raises(ValueError, match="add more photos"):
        train.train(tmp_path / "photos", school.teacher, tmp_path / "out", train.Settings(), tmp_path / "cache")


def test_a_training_can_go_on_from_what_another_one_learnt(school: School, tmp_path: Path) -> None:
    settings = train.Settings(epochs=1, views=1, batch=16, warm_up=2, bfloat16=False)
    first = school.train(tmp_path / "first", replace(settings, queue=0))
    second = school.train(tmp_path / "second", settings, tmp_path / "first" / "checkpoint.npz")
    assert second["settings"]["start"] != first["settings"]["start"] == ""
    assert second["curve"][0]["direction"] < first["curve"][0]["direction"]


def test_a_mixed_view_shows_two_photos_in_the_same_place_at_every_size(school: School) -> None:
    photos = views.Photos.read(school.photos)
    for view in range(views.MIXED_FROM, views.MIXED_FROM + 6):
        small, large = (views.look(photos, 3, view, size, 0).astype(float) for size in (112, 224))
        assert not np.array_equal(small, views.crop(photos, 3, view, 112, 0))
        shrunk = large.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3))
        assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9
