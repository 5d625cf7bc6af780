"""Augmented pictures, as queries and evaluations make them."""

import io

import numpy as np
import pytest
from PIL import Image

from simquery.pictures.augmentation import AUGMENTATIONS
from simquery.query import Augmentation, variants
from tests.conftest import pixels

SQUARE = pixels(1, 48, 48)


def test_a_picture_comes_before_its_variants() -> None:
    made = variants(SQUARE, Augmentation)
    assert (made.shape, made.dtype) == ((7, 48, 48, 3), np.uint8)
    np.testing.assert_array_equal(made[0], SQUARE)
    np.testing.assert_array_equal(variants(SQUARE, []), SQUARE[np.newaxis])


def test_variants_are_those_of_pillow() -> None:
    picture = Image.fromarray(SQUARE)
    turns = [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270]
    _, flipped, *turned = variants(SQUARE, [Augmentation.ROTATE, Augmentation.FLIP])
    np.testing.assert_array_equal(flipped, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    for got, turn in zip(turned, turns, strict=True):
        np.testing.assert_array_equal(got, picture.transpose(turn))


def test_grey_has_no_colour_left() -> None:
    grey = variants(SQUARE, [Augmentation.GREY])[1]
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("shape", [(48, 48), (40, 80)])
def test_every_variant_has_the_input_size(shape: tuple[int, int]) -> None:
    assert variants(pixels(2, *shape), Augmentation).shape == (7, *shape, 3)


def test_the_crop_shows_the_middle() -> None:
    framed = np.zeros((100, 100, 3), np.uint8)
    framed[15:85, 15:85] = 200
    assert (variants(framed, [Augmentation.CROP])[1] == 200).all()


def test_each_augmentation_changes_a_picture() -> None:
    picture = pixels(3)
    for name, augment in AUGMENTATIONS.items():
        changed = augment(picture)
        assert (changed.dtype, changed.shape[2]) == (np.uint8, 3), name
        assert changed.shape != picture.shape or not np.array_equal(changed, picture), name
    np.testing.assert_array_equal(AUGMENTATIONS["rotated"](picture), np.rot90(picture))
    np.testing.assert_array_equal(AUGMENTATIONS["flipped"](picture), picture[:, ::-1])
    assert AUGMENTATIONS["cropped"](picture).shape == (48 - 2 * 7, 64 - 2 * 9, 3)


def test_recompressed_pictures_are_those_of_a_jpeg_of_quality_20() -> None:
    buffer = io.BytesIO()
    Image.fromarray(SQUARE).save(buffer, "JPEG", quality=20)
    np.testing.assert_array_equal(AUGMENTATIONS["recompressed"](SQUARE), np.asarray(Image.open(buffer)))


def test_queries_and_evaluations_augment_alike() -> None:
    for choice, name in (
        (Augmentation.FLIP, "flipped"),
        (Augmentation.ROTATE, "rotated"),
        (Augmentation.GREY, "grey"),
    ):
        np.testing.assert_array_equal(variants(SQUARE, [choice])[1], AUGMENTATIONS[name](SQUARE))
