import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lfwstudy.config import DataConfig
from lfwstudy.data import bank as bank_module
from lfwstudy.data.bank import ImageBank, build_bank, load_bank
from lfwstudy.data.images import decode, suffixes, to_grey
from lfwstudy.errors import DataError
from tests.support.images import RAMP, png, saved


def plain(value=128, mode="RGB", size=(250, 250), format="PNG"):
    """An image of one value."""
    bands = Image.new(mode, (1, 1)).getbands()
    return saved(Image.new(mode, size, value if len(bands) == 1 else (value,) * len(bands)), format)


def build(images, **settings):
    return build_bank(images, DataConfig(dataset="lfw-a", **{"side": 50, **settings}), "here")


def test_saved_bank_comes_back_memory_mapped(tmp_path):
    bank = build([("B_0001", plain(9)), ("A_0001", png(RAMP))])
    bank.save(tmp_path / "bank.npz")
    again = load_bank(tmp_path / "bank.npz")
    assert isinstance(again.images, np.memmap) and again.images.dtype == np.uint8
    assert (again.images == bank.images).all() and again.names.tolist() == ["A_0001", "B_0001"]
    assert again.digest(["A_0001"]) == bank.digest(["A_0001"])
    assert list(tmp_path.iterdir()) == [tmp_path / "bank.npz"]


def test_numpy_reads_a_bank_too(tmp_path):
    build([("A_0001", png(RAMP))]).save(tmp_path / "bank.npz")
    assert np.load(tmp_path / "bank.npz")["images"].shape == (1, 50, 50)


def test_digest_covers_content_names_and_framing():
    one = build([("A_0001", png(RAMP)), ("B_0001", plain())])
    assert one.digest(["A_0001"]) != one.digest(["A_0001", "B_0001"])
    assert one.digest(["A_0001"]) != build([("A_0001", plain(1))]).digest(["A_0001"])
    assert one.digest(["A_0001"]) != build([("A_0001", png(RAMP))], crop=200).digest(["A_0001"])
    assert one.digest(["A_0001"]) == one.subset(["A_0001"]).digest(["A_0001"])


def test_crop_is_central_and_resize_averages():
    row = decode(png(RAMP), "x", 50, 50, "bilinear")[0]
    assert row.tolist() == list(range(100, 150))
    shrunk = decode(png(RAMP), "x", 250, 50, "box")[0]
    assert np.abs(shrunk - (np.arange(50) * 5 + 2)).max() <= 1


def test_grey_is_the_luma_of_colour():
    assert decode(saved(Image.new("RGB", (250, 250), (255, 0, 0))), "x", 250, 8, "box").max() == 76


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "empty"),
        (b"hello", "not a readable"),
        (plain(size=(249, 250)), "249x250"),
        (png(RAMP)[:-60], "not a readable"),
        (b"<html>", "web page"),
    ],
)
def test_damaged_images_are_named(content, words):
    with pytest.raises(DataError, match="A_0001.*" + words):
        build([("A_0001", content)])


def test_sixteen_bit_and_transparent_images_are_read():
    assert decode(plain(0x8080, "I;16"), "x", 250, 8, "box").max() in (127, 128)
    assert decode(plain(0, "RGBA"), "x", 250, 8, "box").max() == 128


@pytest.mark.parametrize(
    "format, suffix",
    [
        ("JPEG", ".jpeg"),
        ("PNG", ".png"),
        ("WEBP", ".webp"),
        ("TIFF", ".tif"),
        ("TIFF", ".tiff"),
        ("BMP", ".bmp"),
        ("PPM", ".ppm"),
        ("PPM", ".pgm"),
        ("GIF", ".gif"),
        ("JPEG", ".jfif"),
    ],
)
def test_what_is_decoded_is_found_by_its_suffix(format, suffix):
    assert suffix in suffixes() and decode(plain(90, "L", format=format), "x", 250, 8, "box").max() in (89, 90, 91)


def test_names_are_composed():
    nfd, nfc = "Rene\u0301e_0001", "Ren\u00e9e_0001"
    bank = build([("Reng_0001", plain()), (nfd, png(RAMP)), ("Z_0001", plain())])
    assert bank.names.tolist() == ["Reng_0001", nfc, "Z_0001"]
    for name in (nfd, nfc):
        assert bank.rows([name]).tolist() == [1] and bank.subset([name]).names.tolist() == [nfc]
        assert bank.digest([name]) == bank.digest([nfc, nfd])
    with pytest.raises(DataError, match=f"{nfc} appears twice"):
        build([(nfc, plain()), (nfd, plain())])


def test_a_bank_whose_names_are_not_sorted_is_refused(tmp_path):
    names, images = np.array(["B_0001", "A_0001"]), np.zeros((2, 1, 1), np.uint8)
    ImageBank(images, names, np.zeros((2, 32), np.uint8), "lfw-a", 250, 1, "box").save(tmp_path / "bank.npz")
    with pytest.raises(DataError, match="bank.npz.*not sorted"):
        load_bank(tmp_path / "bank.npz")


def test_a_bank_of_an_earlier_format_is_refused(tmp_path, monkeypatch):
    """Format 1 may hold deep pixels that were scaled by the image's own maximum."""
    monkeypatch.setattr(bank_module, "BANK_FORMAT", 1)
    build([("A_0001", png(RAMP))]).save(tmp_path / "bank.npz")
    monkeypatch.undo()
    with pytest.raises(DataError, match="bank.npz: bank format 1, this program reads 2; pack it again"):
        load_bank(tmp_path / "bank.npz")


def tiff(values, **tags):
    """A TIFF file of an array (height, width) with more or other tags, `t262=0`."""
    return saved(Image.fromarray(values), "TIFF", tiffinfo={int(name[1:]): value for name, value in tags.items()})


def of_three(values):
    """A PNG file of three equal channels of 16 bits."""
    return cv2.imencode(".png", np.stack([values] * 3, 2))[1].tobytes()


def grey_of(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(to_grey(image), int)


WIDE = RAMP.astype(np.uint16)
DEEP = {
    "png": png(WIDE * 257),
    "tiff": tiff(WIDE * 257),
    "dim tiff": (tiff(WIDE // 3 * 257), RAMP // 3),
    "tiff, white is zero": tiff((255 - WIDE) * 257, t262=0),
    "colour": of_three(WIDE * 257),
    "dim colour": (of_three(WIDE // 3 * 257), RAMP // 3),
}


@pytest.mark.parametrize("kind", DEEP)
def test_sixteen_bits_are_the_same_image(kind):
    content, wanted = DEEP[kind] if isinstance(DEEP[kind], tuple) else (DEEP[kind], RAMP)
    assert np.abs(grey_of(content) - wanted).max() <= 1


@pytest.mark.parametrize(
    "content, words",
    [
        (tiff(RAMP / np.float32(255)), "floats"),
        (tiff(RAMP.astype(np.int32)), "32-bit or signed"),
        (png(WIDE), "16-bit values"),
        (png(WIDE * 16), "16-bit values"),
        (tiff(WIDE * 16), "16-bit values"),
        (of_three(WIDE * 16), "16-bit values"),
        (png(WIDE * 0), "16-bit values"),
    ],
)
def test_pixels_whose_white_is_unknown_are_refused(content, words):
    with pytest.raises(ValueError, match=f"{words}.*8 bits per channel"):
        grey_of(content)


def test_images_of_a_data_set_are_scaled_by_the_same_rule():
    whole = decode(png(RAMP), "x", 250, 50, "bilinear").astype(int)
    assert np.abs(decode(png(WIDE * 257), "x", 250, 50, "bilinear") - whole).max() <= 1
    with pytest.raises(DataError, match="here: image A_0001: .*16-bit values.*8 bits per channel"):
        build([("A_0001", png(WIDE))])


def test_every_16_bit_value_becomes_the_nearest_of_8_bits():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (grey_of(png(values)) == np.round(values / 257)).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_ordinary_jpegs_are_decoded_as_ever(rng, mode):
    """Kept runs and their digests depend on it: the luma plane, cropped and resized, not a level more."""
    content = saved(Image.fromarray(rng.integers(0, 256, (250, 250, 3), np.uint8)).convert(mode))
    image = Image.open(io.BytesIO(content))
    image.draft("L", image.size)
    wanted = image.convert("L").resize((50, 50), Image.Resampling.BILINEAR, box=(30, 30, 220, 220))
    assert (decode(content, "x", 190, 50, "bilinear") == np.asarray(wanted)).all()


def test_missing_duplicate_and_no_images_are_errors():
    with pytest.raises(DataError, match="no image"):
        build([])
    with pytest.raises(DataError, match="A_0001 appears twice"):
        build([("A_0001", png(RAMP)), ("A_0001", png(RAMP))])
    with pytest.raises(DataError, match="Z_0009"):
        build([("A_0001", png(RAMP))]).rows(["A_0001", "Z_0009"])


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-200], lambda b: b"PK\x03\x04" + b[4:200], lambda b: b"", lambda b: b"x" * 500]
)
def test_damaged_bank_files_are_refused(tmp_path, damage):
    path = tmp_path / "bank.npz"
    build([("A_0001", png(RAMP))]).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="bank.npz"):
        load_bank(path)
