import io

import numpy as np
import pytest
from PIL import Image

from lfwstudy.bank import ImageBank, build_bank, decode, load_bank, suffixes
from lfwstudy.errors import DataError


def picture(value=128, mode="RGB", size=(250, 250), format="PNG"):
    content = io.BytesIO()
    Image.new(mode, size, value if mode in ("L", "I;16") else (value,) * len(Image.new(mode, (1, 1)).getbands())).save(
        content, format)
    return content.getvalue()


def gradient():
    content = io.BytesIO()
    Image.fromarray(np.tile(np.arange(250, dtype=np.uint8), (250, 1))).save(content, "PNG")
    return content.getvalue()


def build(pictures, **settings):
    return build_bank(pictures, "lfw-a", **{"crop": 250, "side": 50, "filter": "bilinear", **settings}, origin="here")


def test_saved_bank_comes_back_memory_mapped(tmp_path):
    bank = build([("B_0001", picture(9)), ("A_0001", gradient())])
    bank.save(tmp_path / "bank.npz")
    again = load_bank(tmp_path / "bank.npz")
    assert isinstance(again.images, np.memmap) and again.images.dtype == np.uint8
    assert (again.images == bank.images).all() and again.names.tolist() == ["A_0001", "B_0001"]
    assert again.digest(["A_0001"]) == bank.digest(["A_0001"])
    assert list(tmp_path.iterdir()) == [tmp_path / "bank.npz"]


def test_numpy_reads_a_bank_too(tmp_path):
    build([("A_0001", gradient())]).save(tmp_path / "bank.npz")
    assert np.load(tmp_path / "bank.npz")["images"].shape == (1, 50, 50)


def test_digest_covers_content_names_and_framing():
    one = build([("A_0001", gradient()), ("B_0001", picture())])
    assert one.digest(["A_0001"]) != one.digest(["A_0001", "B_0001"])
    assert one.digest(["A_0001"]) != build([("A_0001", picture(1))]).digest(["A_0001"])
    assert one.digest(["A_0001"]) != build([("A_0001", gradient())], crop=200).digest(["A_0001"])
    assert one.digest(["A_0001"]) == one.subset(["A_0001"]).digest(["A_0001"])


def test_crop_is_central_and_resize_averages():
    row = decode(gradient(), "x", 50, 50, "bilinear")[0]
    assert row.tolist() == list(range(100, 150))
    shrunk = decode(gradient(), "x", 250, 50, "box")[0]
    assert np.abs(shrunk - (np.arange(50) * 5 + 2)).max() <= 1


def test_grey_is_the_luma_of_colour():
    content = io.BytesIO()
    Image.new("RGB", (250, 250), (255, 0, 0)).save(content, "PNG")
    assert decode(content.getvalue(), "x", 250, 8, "box").max() == 76


@pytest.mark.parametrize("content, words", [
    (b"", "empty"), (b"hello", "not a readable"), (picture(size=(249, 250)), "249x250"),
    (gradient()[:-60], "not a readable"), (b"<html>", "web page")])
def test_damaged_pictures_are_named(content, words):
    with pytest.raises(DataError, match="A_0001.*" + words):
        build([("A_0001", content)])


def test_sixteen_bit_and_transparent_pictures_are_read():
    assert decode(picture(0x8080, "I;16"), "x", 250, 8, "box").max() in (127, 128)
    assert decode(picture(0, "RGBA"), "x", 250, 8, "box").max() == 128


@pytest.mark.parametrize("format, suffix", [("JPEG", ".jpeg"), ("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("TIFF", ".tiff"),
                                            ("BMP", ".bmp"), ("PPM", ".ppm"), ("PPM", ".pgm"), ("GIF", ".gif"), ("JPEG", ".jfif")])
def test_what_is_decoded_is_found_by_its_suffix(format, suffix):
    assert suffix in suffixes() and decode(picture(90, "L", format=format), "x", 250, 8, "box").max() in (89, 90, 91)


def test_names_are_compared_composed(tmp_path):
    """A bank written before, or elsewhere, may hold decomposed names, which are in another order."""
    nfd, nfc = "Rene\u0301e_0001", "Ren\u00e9e_0001"
    ImageBank(np.arange(3, dtype=np.uint8)[:, None, None], np.array([nfd, "Reng_0001", "Z_0001"]),
              np.arange(96, dtype=np.uint8).reshape(3, 32), "lfw-a", 250, 1, "box").save(tmp_path / "bank.npz")
    bank = load_bank(tmp_path / "bank.npz")
    assert bank.names.tolist() == ["Reng_0001", nfc, "Z_0001"]
    for name in (nfd, nfc):
        assert bank.images[bank.rows([name])[0]] == 0 and bank.sha256[bank.rows([name])[0], 0] == 0
        assert bank.subset([name]).names.tolist() == [nfc] and bank.digest([name]) == bank.digest([nfc, nfd])
    ImageBank(np.zeros((2, 1, 1), np.uint8), np.array(sorted([nfd, nfc])), np.zeros((2, 32), np.uint8), "lfw-a", 250, 1,
              "box").save(tmp_path / "twice.npz")
    with pytest.raises(DataError, match="twice.npz.*there twice"):
        load_bank(tmp_path / "twice.npz")


def test_missing_duplicate_and_no_pictures_are_errors():
    with pytest.raises(DataError, match="no picture"):
        build([])
    with pytest.raises(DataError, match="A_0001 is there twice"):
        build([("A_0001", gradient()), ("A_0001", gradient())])
    with pytest.raises(DataError, match="Z_0009"):
        build([("A_0001", gradient())]).rows(["A_0001", "Z_0009"])


@pytest.mark.parametrize("damage", [lambda b: b[:-200], lambda b: b"PK\x03\x04" + b[4:200], lambda b: b"", lambda b: b"x" * 500])
def test_damaged_bank_files_are_refused(tmp_path, damage):
    path = tmp_path / "bank.npz"
    build([("A_0001", gradient())]).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="bank.npz"):
        load_bank(path)
