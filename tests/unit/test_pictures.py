import contextlib
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, TiffImagePlugin, TiffTags

from simquery.errors import PictureError
from simquery.pictures.decoding import MAX_PIXELS, NotAPictureError, PictureFacts, decode, load_picture
from simquery.pictures.files import FileState, digests_of, has_changed, open_evidence, sha256_of
from simquery.pictures.formats import decoded_formats
from tests.conftest import pixels, save_picture


def decoded(path: Path, size: tuple[int, int] = (48, 64)) -> tuple[PictureFacts, NDArray[np.uint8]]:
    with open_evidence(path) as file:
        facts, (values,) = decode(file, [size])
    return facts, values


def test_a_lossless_picture_arrives_as_it_is(tmp_path: Path) -> None:
    facts, values = decoded(save_picture(tmp_path / "a.png", 1))
    assert facts == PictureFacts("PNG", 64, 48)
    np.testing.assert_array_equal(values, pixels(1))


def test_several_sizes_come_from_one_decoding(tmp_path: Path) -> None:
    with open_evidence(save_picture(tmp_path / "a.png")) as file:
        _, arrays = decode(file, [(10, 20), (30, 5)])
    assert [values.shape for values in arrays] == [(10, 20, 3), (30, 5, 3)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = save_picture(tmp_path / "turned.png", 3, exif=exif)
    with Image.open(turned) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    facts, values = decoded(turned, (expected.height, expected.width))
    assert (facts.width, facts.height) == expected.size
    np.testing.assert_array_equal(values, np.asarray(expected))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    _, values = decoded(tmp_path / "deep.png")
    np.testing.assert_array_equal(values[..., 0], np.round(ramp / 257.0).astype(np.uint8))


def test_a_float_picture_is_stretched_to_eight_bits(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(-1.0, 3.0, 48 * 64, dtype=np.float32).reshape(48, 64)).save(tmp_path / "float.tif")
    _, values = decoded(tmp_path / "float.tif")
    assert (values.min(), values.max()) == (0, 255)


def test_cmyk_shows_the_same_colours(tmp_path: Path) -> None:
    Image.fromarray(pixels(4)).convert("CMYK").save(tmp_path / "print.tif")
    _, values = decoded(tmp_path / "print.tif")
    assert np.abs(values.astype(int) - pixels(4)).mean() < 2


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    layer = np.dstack([pixels(5), np.zeros((48, 64), np.uint8)])
    layer[:, :32, 3] = 255
    Image.fromarray(layer).save(tmp_path / "layer.png")
    _, values = decoded(tmp_path / "layer.png")
    np.testing.assert_array_equal(values[:, :32], pixels(5)[:, :32])
    assert (values[:, 32:] == 255).all()


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    facts, values = decoded(tmp_path / "moving.gif")
    assert facts.format == "GIF"
    assert tuple(values[0, 0]) == (255, 0, 0)


def test_format_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    wrong = save_picture(tmp_path / "real.png").rename(tmp_path / "wrong.jpg")
    assert decoded(wrong)[0].format == "PNG"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("jpg", {"quality": 95}), ("jpg", {"quality": 95, "progressive": True}), ("png", {}), ("bmp", {}), ("tif", {})],
)
def test_a_truncated_picture_is_decoded_as_far_as_it_goes(
    tmp_path: Path, suffix: str, options: dict[str, object]
) -> None:
    path = save_picture(tmp_path / f"whole.{suffix}", 2, **options)
    _, whole = decoded(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    facts, part = decoded(path)
    assert facts == PictureFacts(facts.format, 64, 48, truncated=True)
    rows = slice(-16, None) if suffix == "bmp" else slice(16)  # a BMP begins at the bottom
    difference = np.abs(part[rows].astype(int) - whole[rows]).mean()
    assert difference < (25 if "progressive" in options else 1)


def test_a_picture_of_which_nothing_is_left_is_an_error_with_a_reason(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "whole.png")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PictureError, match=r"broken picture: .*truncated"):
        decoded(path)


@pytest.mark.parametrize(
    ("name", "expected", "options"),
    [
        ("a.heic", "HEIF", {"quality": 95}),
        ("a.avif", "AVIF", {"quality": 95}),
        ("a.jp2", "JPEG2000", {}),
        ("a.jxl", "JXL", {"quality": 95}),
        ("a.webp", "WEBP", {"lossless": True}),
        ("a.ico", "ICO", {"sizes": [(64, 48)]}),
        ("a.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("a.tga", "TGA", {}),
    ],
)
def test_pictures_of_many_formats_are_decoded(
    tmp_path: Path, name: str, expected: str, options: dict[str, object]
) -> None:
    decoded_formats()
    path = save_picture(tmp_path / name, 6, **options)
    facts, values = decoded(path.rename(tmp_path / "named-like-no-picture"))
    assert facts == PictureFacts(expected, 64, 48)
    assert np.abs(values.astype(int) - pixels(6)).mean() < 6


def test_the_composite_of_a_photoshop_file_is_decoded(tmp_path: Path) -> None:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 48, 64, 8, 3) + struct.pack(">III", 0, 0, 0)
    (tmp_path / "a.psd").write_bytes(header + b"\0\0" + pixels(8).transpose(2, 0, 1).tobytes())
    facts, values = decoded(tmp_path / "a.psd")
    assert facts == PictureFacts("PSD", 64, 48)
    np.testing.assert_array_equal(values, pixels(8))


def test_the_first_frame_of_an_animated_png_or_webp_counts(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    for name in ("moving.png", "moving.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        assert decoded(tmp_path / name)[1][20, 20].argmax() == 0


def test_the_first_page_of_a_tiff_counts(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    assert tuple(decoded(tmp_path / "pages.tif")[1][0, 0]) == (255, 0, 0)


def linear_profile() -> bytes:
    """An sRGB profile whose tone curves are replaced by straight lines: the same numbers mean lighter colours."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack(">I", profile[128:132])[0]):
        tag, offset, size = struct.unpack(">4sII", profile[132 + 12 * number : 144 + 12 * number])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            curve = b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 65536)
            profile[offset : offset + size] = curve.ljust(size, b"\0")
        elif tag == b"desc":
            text = profile[offset : offset + size].replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))
            profile[offset : offset + size] = text
    return bytes(profile)


@pytest.mark.parametrize("name", ["wide.png", "wide.jpg", "wide.tif"])
def test_colours_of_an_embedded_profile_are_brought_to_srgb(tmp_path: Path, name: str) -> None:
    grey = Image.new("RGB", (64, 48), (55, 55, 55))
    grey.save(tmp_path / name, icc_profile=linear_profile())
    # 55 / 255 = 0.2157 of the light is, in sRGB, 1.055 · 0.2157^(1/2.4) - 0.055 = 0.502
    assert np.abs(decoded(tmp_path / name)[1].astype(int) - 128).max() <= 1


def test_a_damaged_profile_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "odd.png", 1, icc_profile=b"no profile at all")
    np.testing.assert_array_equal(decoded(path)[1], pixels(1))


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_a_large_photo_decoded_at_reduced_scale_looks_the_same(tmp_path: Path, mode: str) -> None:
    large = Image.fromarray(pixels(9)).resize((4000, 3000), Image.Resampling.BICUBIC)
    large.convert(mode).save(tmp_path / "large.jpg", quality=92)
    facts, values = decoded(tmp_path / "large.jpg", (224, 224))
    assert facts == PictureFacts("JPEG", 4000, 3000)
    with Image.open(tmp_path / "large.jpg") as image:
        full = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
    assert np.abs(values.astype(int) - full).mean() < 1


def test_what_a_network_sees_does_not_depend_on_the_others_of_the_pass(tmp_path: Path) -> None:
    Image.fromarray(pixels(9)).resize((3000, 2500)).save(tmp_path / "large.jpg")
    with open_evidence(tmp_path / "large.jpg") as file:
        _, together = decode(file, [(224, 224), (600, 500)])
    for size, values in zip([(224, 224), (600, 500)], together, strict=True):
        np.testing.assert_array_equal(decoded(tmp_path / "large.jpg", size)[1], values)


def test_very_large_pictures_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    Image.new("L", (6000, 5000), 7).save(tmp_path / "huge.png")
    entered = []

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        entered.append(True)
        yield

    for path in (tmp_path / "huge.png", save_picture(tmp_path / "small.png")):
        with open_evidence(path) as file:
            load_picture(file, alone=alone)
    assert len(entered) == 1


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="not a regular file"), open_evidence(tmp_path / "pipe.jpg"):
        pass


@pytest.mark.parametrize("content", [b"", b"dear diary", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note.jpg").write_bytes(content)
    with pytest.raises(PictureError):
        decoded(tmp_path / "note.jpg")


def test_text_is_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "note.jpg").write_text("dear diary")
    with pytest.raises(NotAPictureError):
        decoded(tmp_path / "note.jpg")


def test_a_decompression_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5) + 100
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(PictureError, match="decompression bomb"):
        decoded(tmp_path / "bomb.png")


def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decoded(path)[0].format == "JPEG"


@pytest.mark.parametrize(
    ("tag", "kind", "value", "dropped"),
    [
        (ExifTags.Base.Orientation, TiffTags.DOUBLE, float("inf"), "EXIF orientation: inf"),
        (ExifTags.Base.Orientation, TiffTags.ASCII, "up", "EXIF orientation: up"),
        (ExifTags.Base.Orientation, TiffTags.SHORT, 77, "EXIF orientation: 77"),
        (ExifTags.Base.InterColorProfile, TiffTags.SHORT, 3, "icc_profile: int instead of bytes"),
        (ExifTags.Base.InterColorProfile, TiffTags.ASCII, "none", "icc_profile: str instead of bytes"),
        (ExifTags.Base.InterColorProfile, TiffTags.UNDEFINED, b"none", "ICC profile: cannot open profile from string"),
        (700, TiffTags.LONG, 3, "xmp: int instead of bytes"),
        (700, TiffTags.ASCII, "none", "xmp: str instead of bytes"),
    ],
)
def test_metadata_that_cannot_be_used_is_dropped_and_not_the_picture(
    tmp_path: Path, tag: int, kind: int, value: object, dropped: str
) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[tag] = kind
    tags[tag] = value
    facts, values = decoded(save_picture(tmp_path / "odd.tif", 1, tiffinfo=tags))
    assert facts == PictureFacts("TIFF", 64, 48, dropped=(dropped,))
    np.testing.assert_array_equal(values, pixels(1))


@pytest.mark.parametrize("last", [False, True])
def test_a_png_is_decoded_whatever_its_text_is(tmp_path: Path, *, last: bool) -> None:
    """A comment of 100 million characters before the pixels, or after them; Pillow reads no more than a million."""
    content = save_picture(tmp_path / "odd.png", 1).read_bytes()
    chunk = b"zTXtComment\0\0" + zlib.compress(b"a" * 100_000_000)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    place = len(content) - 12 if last else 33
    (tmp_path / "odd.png").write_bytes(content[:place] + chunk + content[place:])
    facts, values = decoded(tmp_path / "odd.png")
    reason = "Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK"
    assert facts == PictureFacts("PNG", 64, 48, dropped=(f"PNG chunk: {reason}",))
    np.testing.assert_array_equal(values, pixels(1))


def test_a_picture_whose_plug_in_closes_the_file_is_decoded(tmp_path: Path) -> None:
    whole = pixels(1).tobytes()
    header = struct.pack("<4siiiiiiii", b"FTEX", 1, 64, 48, 1, 1, 1, 32, len(whole))
    (tmp_path / "a.ftu").write_bytes(header + whole)
    with open_evidence(tmp_path / "a.ftu") as file:
        facts, (values,) = decode(file, [(48, 64)])
        assert not has_changed(file, FileState.of(file))
    assert facts == PictureFacts("FTEX", 64, 48)
    np.testing.assert_array_equal(values, pixels(1))


SUFFIXES = ("jpg", "png", "gif", "tif", "bmp", "webp", "heic", "avif", "jp2", "jxl", "ico", "tga")


def picture_or_reason(path: Path) -> str:
    try:
        return decoded(path)[0].format
    except PictureError as error:
        return str(error)


def test_every_cut_of_a_file_is_a_picture_or_a_reason(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        whole = save_picture(tmp_path / f"whole.{suffix}").read_bytes()
        for end in range(0, len(whole), max(1, len(whole) // 100)):
            (tmp_path / "cut").write_bytes(whole[:end])
            assert picture_or_reason(tmp_path / "cut")


def test_every_damaged_byte_leaves_a_picture_or_a_reason(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    for suffix in SUFFIXES:
        whole = bytearray(save_picture(tmp_path / f"whole.{suffix}").read_bytes())
        for _ in range(100):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), 3):
                damaged[place] = random.integers(0, 256)
            (tmp_path / "damaged").write_bytes(damaged)
            assert picture_or_reason(tmp_path / "damaged")


def test_a_decoder_that_gives_up_in_its_own_way_is_a_reason(tmp_path: Path) -> None:
    header = b"DDS " + (124).to_bytes(4, "little") + (0x1007).to_bytes(4, "little") + b"\x10\0\0\0" * 2 + b"\0" * 56
    pixel_format = (32).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"ZZZZ" + b"\0" * 20
    (tmp_path / "odd.dds").write_bytes(header + pixel_format + b"\0" * 64)
    assert "broken picture" in picture_or_reason(tmp_path / "odd.dds")


def test_hashing_a_large_file_can_be_given_up(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"\0" * 3_000_000)
    looks = iter([False, True])
    with open_evidence(tmp_path / "disk.img") as file, pytest.raises(InterruptedError):
        sha256_of(file, lambda: next(looks))


def test_hashing_gives_the_digest_of_the_whole_file_and_rewinds(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with open_evidence(path) as file:
        assert sha256_of(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    path.write_bytes(b"abc")
    with open_evidence(path) as file:
        file.read(2)
        assert sha256_of(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert file.read() == b"abc"


def test_both_digests_are_those_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(content)
    with open_evidence(tmp_path / "a") as file:
        digests = digests_of(file)
    assert digests.sha256 == hashlib.sha256(content).hexdigest()
    assert digests.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_reading_leaves_the_access_time_alone(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    os.utime(path, ns=(10**18, 2 * 10**18))
    decoded(path)
    assert path.stat().st_atime_ns == 10**18
