"""Images, pair files and archives as the world has them: each works, or is one clear line naming file, line and value."""

import io
import os
import re
import shutil
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from lfwstudy.cli import main
from lfwstudy.config import DataConfig
from lfwstudy.data import archives, images
from lfwstudy.data.filetypes import not_an_image
from lfwstudy.data.images import SOURCE_SIDE, decode
from lfwstudy.data.pairs import read_people, read_view1, read_view2
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import DataError, one_line
from lfwstudy.verify import faces as verify_faces
from lfwstudy.verify.faces import find_faces, frame_face, full_size, open_face, open_photo, read_photo
from tests.support.archives import member, write_tar, write_zip
from tests.support.commands import lfwstudy, study_in
from tests.support.images import FACE, saved
from tests.support.names import NAMES

CONFIG = DataConfig(dataset="lfw-a", side=40)


def resized(width, height):
    return saved(FACE.resize((width, height)))


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(exif=exif)


def sixteen_bit():
    return saved(Image.fromarray(np.asarray(FACE, np.uint16) * 257), "PNG")


def bomb():
    """A PNG of 20,000 x 20,000 white pixels in some tens of kilobytes."""
    return saved(Image.new("1", (20_000, 20_000), 1), "PNG")


JPEG, PNG = saved(), saved(format="PNG")
IMAGES = {
    "jpeg": (JPEG, None),
    "png": (PNG, None),
    "progressive jpeg": (saved(progressive=True), None),
    "grey ppm": (saved(format="PPM"), None),
    "bmp": (saved(format="BMP"), None),
    "colour jpeg": (saved(FACE.convert("RGB")), None),
    "cmyk jpeg": (saved(FACE.convert("CMYK")), None),
    "palette png": (saved(FACE.convert("P"), "PNG"), None),
    "1-bit png": (saved(FACE.convert("1"), "PNG"), None),
    "alpha png": (saved(FACE.convert("RGBA"), "PNG"), None),
    "grey and alpha png": (saved(FACE.convert("LA"), "PNG"), None),
    "transparent colour png": (saved(FACE.convert("RGB"), "PNG", transparency=(0, 0, 0)), None),
    "16-bit png": (sixteen_bit(), None),
    "interlaced-looking trailing bytes": (JPEG + b"trailing", None),
    "turned by exif": (turned(6), None),
    "mirrored by exif": (turned(2), None),
    "empty": (b"", "empty file"),
    "text": (b"hello\n", "not a readable image"),
    "html error page": (b"<html>404</html>", "a web page"),
    "zeros": (bytes(5000), "zeros"),
    "gif": (saved(format="GIF"), None),
    "tiff": (saved(format="TIFF"), None),
    "webp": (saved(format="WEBP"), None),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "jpeg without its end": (JPEG[:-200], "not a readable"),
    "half a jpeg": (JPEG[: len(JPEG) // 2], "not a readable"),
    "header of a jpeg": (JPEG[:20], "not a readable"),
    "half a png": (PNG[: len(PNG) // 2], "not a readable"),
    "png with a damaged header": (PNG[:20] + b"\xff" * 8 + PNG[28:], "not a readable|pixels"),
    "png with a damaged body": (PNG[:200] + bytes(100) + PNG[300:], "not a readable"),
    "one pixel short": (resized(249, 250), "249x250 pixels, 250x250 expected"),
    "one pixel": (resized(1, 1), "1x1"),
    "one row": (resized(250, 1), "250x1"),
    "twice as large": (resized(500, 500), "500x500"),
    "decompression bomb": (bomb(), "more than .* pixels"),
}


@pytest.mark.parametrize("content, words", IMAGES.values(), ids=IMAGES)
def test_image(content, words):
    if words is None:
        image = decode(content, "A_0001", 250, 40, "bilinear")
        assert image.shape == (40, 40) and image.dtype == np.uint8 and image.std() > 5
    else:
        with pytest.raises(DataError, match=f"image A_0001: .*({words})") as error:
            decode(content, "A_0001", 250, 40, "bilinear")
        assert error.value.args[0] == one_line(error.value) and "0x7" not in str(error.value)


def test_images_cut_short_anywhere_are_read_whole_or_refused():
    whole = {kind: decode(content, "A_0001", 250, 40, "bilinear") for kind, content in (("jpeg", JPEG), ("png", PNG))}
    for kind, content in (("jpeg", JPEG), ("png", PNG)):
        for end in [*range(64), *range(64, len(content), max(1, len(content) // 150)), len(content) - 1]:
            try:
                image = decode(content[:end], "A_0001", 250, 40, "bilinear")
            except DataError as error:
                assert "image A_0001" in str(error)
            else:
                assert np.abs(image.astype(int) - whole[kind]).max() <= 1, f"{kind} of {end} bytes gave another image"


def test_grey_values_survive_every_mode():
    for kind in ("png", "alpha png", "16-bit png", "colour jpeg", "cmyk jpeg"):
        image = decode(IMAGES[kind][0], "A_0001", 250, 40, "bilinear")
        assert np.abs(image.astype(int) - decode(PNG, "A_0001", 250, 40, "bilinear")).mean() < 3, kind


BODY = "1\nAda\t1\t2\nAda\t1\tBo\t1\n"
BAD_NAMES = {
    "leading dash": "-rf",
    "formula": "=1+1",
    "plus": "+1",
    "at": "@SUM(A1)",
    "full-width formula": "\uff1d1",
    "formula after a separator": "A;=1+1",
    "formula after a comma": "A, =1",
    "slash": "A/B",
    "backslash": "A\\B",
    "up": "..",
    "here": ".",
    "empty": "",
    "blank": " ",
    "trailing blank": "A ",
    "escape sequence": "A\x1b[31m",
    "newline-like": "A\x0bB",
    "bell": "A\x07",
    "null": "A\x00B",
    "line separator": "A\u2028B",
    "right-to-left": "A\u202eB",
    "zero width": "A\u200bB",
    "non-breaking blank": "A\u00a0B",
    "endless": "x" * 201,
}
PAIR_FILES = {
    "as published": (BODY, None),
    "windows line ends": (BODY.replace("\n", "\r\n"), None),
    "no last newline": (BODY.rstrip(), None),
    "blank lines at the end": (BODY + "\n\n", None),
    "byte order mark": ("\ufeff" + BODY, None),
    "blanks around numbers": (BODY.replace("\t2", "\t 2 "), None),
    "leading zeros": (BODY.replace("\t2", "\t0002"), None),
    "old mac line ends": (BODY.replace("\n", "\r"), None),
    "line ends converted twice": (BODY.replace("\n", "\r\r\n"), None),
    "padded with tabs": ("".join(line + "\t" * (4 - line.count("\t")) + "\n" for line in BODY.splitlines()), None),
    "padded with blanks": (BODY.replace("\n", "  \t \n"), None),
    "mixed line ends": (BODY.replace("\n", "\r", 1), None),
    "one long line": ("x" * 300_000, "line 1.*'xxx"),
    "long name": (BODY.replace("Bo", "B" * 5000), "line 3.*'BBB"),
    "long number": (BODY.replace("\t2", "\t" + "2" * 5000), "line 2.*'222"),
    "long header": ("\t" * 5000 + "1\n", "line 1"),
    "long control characters": (BODY.replace("Bo", "\x07" * 500), "line 3"),
    "long line after the end": (BODY + "y" * 5000, "line 4.*'yyy"),
    "web page": ("\n" * 6 + "<!DOCTYPE html>\n<html></html>\n", "web page.*download it in a browser"),
    "web page in upper case": ("\ufeff<HTML><BODY>", "web page"),
    "error of a store": ('<?xml version="1.0"?><Error>', "web page"),
    "git lfs pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS.*git lfs pull"),
    "git-annex pointer": ("/annex/objects/SHA256E-s56--0.txt\n", "git annex get"),
    "json": ('{"error": "not found"}', "JSON"),
    "zipped": (b"PK\x03\x04" + bytes(90), "unpack"),
    "gzipped": (b"\x1f\x8b" + bytes(90), "unpack"),
    "rich text": (b"{\\rtf1 1\\par}", "plain text"),
    "office": (b"\xd0\xcf\x11\xe0" + bytes(90), "plain text"),
    "spaces for tabs": (BODY.replace("\t", " "), "line 2.*separated by tabs"),
    "two tabs": (BODY.replace("\t1\t2", "\t1\t\t2"), "line 2.*'Ada"),
    "blank line inside": (BODY.replace("\nAda\t1\tBo", "\n\nAda\t1\tBo"), "line 3"),
    "too few announced": (BODY + "Ada\t1\tBo\t2\n", "line 4.*longer than its header"),
    "too many announced": (BODY.replace("1\n", "2\n", 1), "line 3|line 4"),
    "nothing announced": ("0\n", "line 1.*'0'"),
    "less than nothing announced": ("-1\n", "line 1.*'-1'"),
    "ended early": ("2\nAda\t1\t2\n", "line 3.*ends"),
    "field missing": (BODY.replace("Bo\t1", "Bo"), "line 3.*NAME"),
    "number too large": (BODY.replace("\t2", "\t99999999"), "line 2.*99999999"),
    "no number": ("pairs\n", "line 1.*'pairs'"),
    "huge number": ("9" * 400 + "\n", "line 1"),
    "view 2 read as view 1": ("1\t1\nA\t1\t2\nA\t1\tB\t1\n", "line 1"),
    "comma separated": (BODY.replace("\t", ","), "line 2"),
    "image with itself": (BODY.replace("\t2", "\t1"), "line 2.*itself.*'Ada_0001'"),
    "mismatched pair of one person": (BODY.replace("Bo", "Ada"), "line 3.*one person"),
    "number 0": (BODY.replace("\t2", "\t0"), "line 2.*'0'"),
    "number below 0": (BODY.replace("\t2", "\t-1"), "line 2.*'-1'"),
    "fraction": (BODY.replace("\t2", "\t1.5"), "line 2.*'1.5'"),
    "separators before a number": ("\x1c\x1c" + BODY, "line 1"),
    "other digits": (BODY.replace("\t2", "\t\u0662"), "line 2"),
    "latin-1": (BODY.replace("Bo", "B\u00f6").encode("latin-1"), "not UTF-8.*0xf6"),
    "utf-16": (BODY.encode("utf-16"), "not UTF-8"),
    "an image": (JPEG, "not UTF-8"),
    "empty": ("", "empty"),
    "only blanks": (" \n\t\n", "empty"),
    "null bytes": (b"\0" * 40, "line 1"),
    **{f"name with {kind}": (BODY.replace("Bo", name), None) for kind, name in NAMES.items()},
    **{
        f"name: {kind}": (BODY.replace("Bo", name), "line 3.*(not a person's name|expected)")
        for kind, name in BAD_NAMES.items()
    },
}


@pytest.mark.parametrize("content, words", PAIR_FILES.values(), ids=PAIR_FILES)
def test_pair_file(tmp_path, content, words):
    path = tmp_path / "pairsDevTest.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if words is None:
        assert len(read_view1(path)) == 2
    else:
        with pytest.raises(DataError, match=f"pairsDevTest.txt.*({words})") as error:
            read_view1(path)
        assert one_line(error.value) == str(error.value) and len(str(error.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    "read, text, words",
    [
        (read_view2, "2\t1\nA\t1\t2\nA\t1\tB\t1\nC\t1\t2\n", "line 5.*fold 2"),
        (read_view2, "10\n", "line 1.*folds"),
        (read_view2, "1\t1\nA\t1\t2\nA\t1\tB\t1\nC\t1\tD\t1\n", "line 4.*longer than its header"),
        (read_people, "2\nA\t1\nA\t2\n", "line 3.*line 2"),
        (read_people, "2\n1\nA\t1\n", "line 4"),
        (read_people, "1\nA\t0\n", "line 2.*'0'"),
        (read_people, "1\n=A\t1\n", "line 2.*'=A'"),
        (read_people, "2\n1\nA 1\n1\nB\t1\n", "line 3.*'A 1'"),
    ],
)
def test_other_files_of_the_data_set(tmp_path, read, text, words):
    (tmp_path / "people.txt").write_text(text)
    with pytest.raises(DataError, match=f"people.txt, {words}"):
        read(tmp_path / "people.txt")


def test_unknown_people_are_named_with_their_line(faces, tmp_path):
    for file in faces.glob("*.txt"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "lfw2").symlink_to(faces / "lfw2")
    first = (faces / "pairsDevTest.txt").read_text().splitlines()[1].split("\t")[0]
    text = (faces / "pairsDevTest.txt").read_text().replace(first, "Nobody Known", 1)
    (tmp_path / "pairsDevTest.txt").write_text(text)
    done = lfwstudy("data", "--dataset", "lfw-a", "--data-dir", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "pairsDevTest.txt, line 2: image Nobody Known_000" in done.stderr


# -- archives ----------------------------------------------------------------------------------------------------------


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


GOOD = member("lfw2/A/A_0001.jpg", JPEG)
TARS = {
    "absolute path": ([member("/tmp/A/A_0001.jpg", JPEG)], "points out"),
    "dots": ([member("lfw2/../../A/A_0001.jpg", JPEG)], "points out"),
    "dots in a name that is skipped": ([GOOD, member("../README", b"x")], "points out"),
    "backslashes": ([member("lfw2\\A\\A_0001.jpg", JPEG)], "points out"),
    "symbolic link": ([member("lfw2/A/A_0001.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "link or a device"),
    "hard link": (
        [GOOD, member("lfw2/A/A_0002.jpg", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        "link or a device",
    ),
    "linked folder": ([member("lfw2", type=tarfile.SYMTYPE, linkname="/")], "link or a device"),
    "character device": ([member("lfw2/A/A_0001.jpg", type=tarfile.CHRTYPE)], "link or a device"),
    "block device": ([member("lfw2/A/A_0001.jpg", type=tarfile.BLKTYPE)], "link or a device"),
    "pipe": ([member("lfw2/A/A_0001.jpg", type=tarfile.FIFOTYPE)], "link or a device"),
    "large member": ([member("lfw2/A/A_0001.jpg", bytes(9 << 20))], "too large for an archive of faces"),
    "long header": ([member("x" * (20 << 20), b"")], "header of over"),
    "formula": ([member("lfw2/=A/=A_0001.jpg", JPEG)], "'=A' is not a person's name"),
    "escape sequence": ([member("lfw2/A\x1b[31m/A\x1b[31m_0001.jpg", JPEG)], "x1b"),
    "newline": ([member("lfw2/A\nB/A\nB_0001.jpg", JPEG)], "not a person's name"),
    "damaged image": ([member("lfw2/A/A_0001.jpg", JPEG[:500])], "image A_0001"),
    "long name": ([member("/" + "x" * 5000, JPEG)], "points out"),
    "twice": ([GOOD, member("lfw2/A/A_0001.jpg", JPEG)], "appears twice"),
    "no images": ([member("lfw2/README", b"x")], "no image"),
}
ZIPS = {
    "absolute path": ([("/tmp/A/A_0001.jpg", JPEG)], "points out"),
    "dots": ([("lfw2/../../A/A_0001.jpg", JPEG)], "points out"),
    "symbolic link": ([(zip_link("lfw2/A/A_0001.jpg"), b"/etc/passwd")], "link or a device"),
    "large member": ([("lfw2/A/A_0001.jpg", bytes(9 << 20))], "too large for an archive of faces"),
    "formula": ([("lfw2/=A/=A_0001.jpg", JPEG)], "'=A' is not a person's name"),
}


@pytest.mark.parametrize("members, words", TARS.values(), ids=TARS)
def test_tar_archive(tmp_path, members, words):
    write_tar(tmp_path / "lfwa.tar.gz", *members)
    refused(tmp_path, words)


@pytest.mark.parametrize("members, words", ZIPS.values(), ids=ZIPS)
def test_zip_archive(tmp_path, members, words):
    write_zip(tmp_path / "lfwa.zip", *members)
    refused(tmp_path, words)


def refused(folder, words):
    """The archive is refused with one line; nothing is written but, at most, the lock of the cache."""
    before = set(folder.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFWSTUDY_CACHE", str(folder / "cache"))  # one that no other test fills meanwhile
        with pytest.raises(DataError, match=words) as error:
            prepare_bank(CONFIG, str(folder))
    assert "lfwa" in str(error.value) and one_line(error.value) == str(error.value)
    assert all(p.suffix == ".lock" or p.is_dir() for p in set(folder.rglob("*")) - before)
    assert not Path("/tmp/A").exists()


def test_an_encrypted_zip_is_one_line(tmp_path):
    write_zip(tmp_path / "lfwa.zip", ("lfw2/A/A_0001.jpg", JPEG))
    content = bytearray((tmp_path / "lfwa.zip").read_bytes())
    content[6] |= 1  # the flag in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "lfwa.zip").write_bytes(content)
    refused(tmp_path, "encrypted")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bombs_are_refused_by_their_ratio(tmp_path, kind):
    """1000:1, members each of a legal size: refused after 64 MiB and 50 times the archive's size."""
    zeros = bytes(7 << 20)
    if kind == "tar":
        write_tar(tmp_path / "lfwa.tar.gz", *(member(f"lfw2/README{n}", zeros) for n in range(20)))
    else:
        write_zip(
            tmp_path / "lfwa.zip", *((f"lfw2/README{n}", zeros) for n in range(20)), compression=zipfile.ZIP_DEFLATED
        )
    assert next(tmp_path.iterdir()).stat().st_size < 200_000
    refused(tmp_path, "too large for an archive of faces")


def test_far_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MAX_MEMBERS", 50)
    write_tar(tmp_path / "lfwa.tar.gz", *(member(f"lfw2/{n}") for n in range(60)))
    refused(tmp_path, "too large for an archive of faces")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_kind_of_tar_is_read(tmp_path, mode, format):
    long = "N" * 70
    members = [member("lfw2/A/A_0001.jpg", JPEG), member(f"lfw2/{long}/{long}_0001.jpg", JPEG)]
    write_tar(tmp_path / "lfwa.tar.gz", *members, mode=mode, format=format)
    assert prepare_bank(CONFIG, str(tmp_path)).names.tolist() == ["A_0001", f"{long}_0001"]


def test_hostile_names_in_a_folder_are_one_line(tmp_path):
    (tmp_path / "lfw2" / "A\x1b[31m").mkdir(parents=True)
    (tmp_path / "lfw2" / "A\x1b[31m" / "A\x1b[31m_0001.jpg").write_bytes(JPEG)
    with pytest.raises(DataError, match="not a person's name") as error:
        prepare_bank(CONFIG, str(tmp_path))
    assert "\x1b" not in str(error.value)


def test_devices_and_pipes_in_a_folder_are_not_read(faces, tmp_path):
    (tmp_path / "lfw2" / "A").mkdir(parents=True)
    (tmp_path / "lfw2" / "A" / "A_0001.jpg").write_bytes(JPEG)
    os.mkfifo(tmp_path / "lfw2" / "A" / "A_0002.jpg")
    (tmp_path / "lfw2" / "A" / "A_0003.jpg").symlink_to("/dev/zero")
    assert prepare_bank(CONFIG, str(tmp_path)).names.tolist() == ["A_0001"]


def test_unusual_names_go_all_the_way(tmp_path):
    """Names that are legal are so in archives, banks, pairs and the digest, too."""
    names = [name for name in NAMES.values() if len(name) < 90]
    write_zip(tmp_path / "lfwa.zip", *((f"lfw2/{name}/{name}_{n:04d}.jpg", JPEG) for name in names for n in (1, 2)))
    lines = [
        f"{len(names)}",
        *(f"{name}\t1\t2" for name in names),
        *(f"{name}\t1\t{other}\t2" for name, other in zip(names, [*names[1:], names[0]])),
    ]
    for file in ("pairsDevTrain.txt", "pairsDevTest.txt"):
        (tmp_path / file).write_text("\n".join(lines))
    pairs, bank = load_pairs(replace(CONFIG, split="random"), str(tmp_path)), prepare_bank(CONFIG, str(tmp_path))
    assert len(bank) == 2 * len(names) and len(pairs.digest(bank)) == 64


# -- photos of one's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, words",
    [
        ("jpeg", None),
        ("cmyk jpeg", None),
        ("alpha png", None),
        ("16-bit png", None),
        ("gif", None),
        ("tiff", None),
        ("one pixel", None),
        ("turned by exif", None),
        ("empty", "empty file"),
        ("text", "not a readable"),
        ("half a jpeg", "not a readable"),
        ("decompression bomb", "more than .* pixels"),
    ],
)
def test_photo(tmp_path, kind, words):
    path = tmp_path / "photo.jpg"
    path.write_bytes(IMAGES[kind][0])
    if words is None:
        assert open_photo(path)[0].mode == "L"
    else:
        with pytest.raises(DataError, match=f"photo.jpg.*({words})"):
            open_photo(path)


def test_photos_are_turned_upright(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(turned(6))
    upright = np.asarray(FACE.rotate(-90), int)
    assert np.abs(np.asarray(open_photo(tmp_path / "photo.jpg")[0], int) - upright).mean() < 3


def test_a_photo_with_damaged_metadata_is_read_without_a_word(tmp_path, recwarn):
    content = bytearray(saved(format="TIFF", description="a face"))
    at = content.index((270).to_bytes(2, "little"), int.from_bytes(content[4:8], "little"))
    content[at + 4 : at + 8] = b"\xff\xff\xff\x00"  # the description's length, far beyond the file's end
    (tmp_path / "photo.tiff").write_bytes(content)
    assert open_photo(tmp_path / "photo.tiff")[0].size == (SOURCE_SIDE, SOURCE_SIDE) and not recwarn.list


def box_file(brand, others=b"mif1"):
    """The start of a file of ISO boxes: HEIC, AVIF, videos."""
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + others + bytes(2000)


def tiff_with(**tags):
    return saved(format="TIFF", tiffinfo={int(name[1:]): value for name, value in tags.items()})


FOREIGN = {
    "heic": (box_file(b"heic"), "HEIC.*save it as JPEG or PNG"),
    "heic of another camera": (box_file(b"mif1", b"heic"), "HEIC"),
    "heic of ten bits": (box_file(b"heix"), "HEIC"),
    "avif": (box_file(b"avif"), "AVIF.*save it as JPEG or PNG"),
    "avif by its second name": (box_file(b"mif1", b"avif"), "AVIF"),
    "moving avif": (box_file(b"avis"), "AVIF"),
    "video": (box_file(b"isom"), "a video.*one of its frames"),
    "iphone video": (box_file(b"qt  "), "a video"),
    "canon raw": (box_file(b"crx "), "raw photo.*develop it"),
    "older canon raw": (b"II*\0\x10\0\0\0CR\2\0" + bytes(999), "raw photo"),
    "fuji raw": (b"FUJIFILMCCD-RAW 0201" + bytes(999), "raw photo"),
    "olympus raw": (b"IIRO\x08\0\0\0" + bytes(999), "raw photo"),
    "panasonic raw": (b"IIU\0\x08\0\0\0" + bytes(999), "raw photo"),
    "nikon raw": (tiff_with(t254=1), "raw photo"),
    "adobe raw": (tiff_with(t50706=b"\1\4\0\0"), "raw photo"),
    "jpeg xl": (b"\xff\x0a" + bytes(999), "JPEG XL"),
    "jpeg xl in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(999), "JPEG XL"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(999), "JPEG 2000"),
    "pdf": (b"%PDF-1.7\n" + bytes(999), "PDF"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "photoshop": (b"8BPS\0\1" + bytes(999), "Photoshop"),
    "svg with a prolog": (
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg/>",
        "SVG",
    ),
    "web page": (b"\n\n <!DOCTYPE html><title>Sign in</title>", "web page.*download it in a browser"),
    "web page in capitals": (b"<HTML><BODY>404</BODY></HTML>", "web page"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
    "annex pointer": (b"/annex/objects/SHA256E-s9--00.jpg\n", "git annex get"),
    "empty": (b"", "empty file"),
    "mac's notes": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(999), r"without \._"),
    "zeros": (bytes(4000), "zeros"),
    "archive": (b"PK\3\4" + bytes(999), "unpack"),
    "unknown": (b"no image", "none of JPEG, PNG"),
    "half a tiff": (saved(format="TIFF")[:9], "damaged"),
}


@pytest.mark.parametrize("name", ["photo.jpg", "IMG_0001.HEIC"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_photo_this_program_reads_is_named_by_its_content(tmp_path, kind, name):
    content, words = FOREIGN[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*{words}") as error:
        open_photo(path)
    assert str(error.value) == one_line(error.value) and len(str(error.value)) < len(str(path)) + 200
    with pytest.raises(DataError, match="^upload.jpg: ") as error:
        read_photo(io.BytesIO(content), "upload.jpg")
    assert "object at" not in str(error.value) and re.search(words, str(error.value))


@pytest.mark.parametrize("kind", ["heic", "web page", "lfs pointer"])
def test_such_a_file_in_a_data_set_is_named_too(kind):
    with pytest.raises(DataError, match=f"image A_0001: .*{FOREIGN[kind][1]}"):
        decode(FOREIGN[kind][0], "A_0001", 250, 40, "bilinear")


@pytest.mark.parametrize("format", images.FORMATS)
def test_what_is_read_is_not_taken_for_another_format(format):
    assert (
        not_an_image(saved(format=format)) == "" and read_photo(io.BytesIO(saved(format=format)), "x").size == FACE.size
    )


def test_a_long_run_of_comments_takes_no_time():
    assert not_an_image(b"<!---->" * 10_000 + b"x") == "a web page in place of the file; download it in a browser"


def test_a_missing_photo_and_a_folder_are_named(tmp_path):
    for path, words in ((tmp_path / "none.jpg", "no such file"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {words}$"):
            open_photo(path)


# -- photos of many pixels ----------------------------------------------------------------------------------------------


def on_a_wall(**options):
    """A photo of 900x800 pixels with a face whose box is 300,250,600,550."""
    wall = Image.new("L", (900, 800), 120)
    wall.paste(FACE.resize((660, 660)), (120, 70))
    return saved(wall, **{"quality": 95, **options})


BOX = (300, 250, 600, 550)
TURNED = {1: BOX, 3: (300, 250, 600, 550), 6: (250, 300, 550, 600), 8: (250, 300, 550, 600)}


@pytest.mark.parametrize(
    "orientation, options",
    [
        *((orientation, {}) for orientation in TURNED),
        (1, {"format": "PNG"}),
        (6, {"format": "TIFF"}),
        (8, {"format": "WEBP"}),
    ],
)
@pytest.mark.parametrize("pixels", [400_000, 100_000, 30_000])
def test_a_large_photo_is_decoded_smaller_and_boxes_stay_in_its_own_pixels(monkeypatch, orientation, options, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = on_a_wall(exif=exif, **options)
    whole = read_photo(io.BytesIO(content), "x")
    wanted = np.asarray(frame_face(whole, TURNED[orientation]).resize((50, 50)), int)
    monkeypatch.setattr(verify_faces, "WORKING_PIXELS", pixels)
    photo = read_photo(io.BytesIO(content), "x")
    assert photo.width * photo.height <= pixels and whole.size == (900, 800)[:: -1 if orientation > 4 else 1]
    assert np.abs(np.subtract(full_size(photo), whole.size)).max() < photo.info["reduced"]
    assert np.abs(np.asarray(frame_face(photo, TURNED[orientation]).resize((50, 50)), int) - wanted).mean() < 4
    with pytest.raises(DataError, match=f"outside the photo of {whole.width // 100}"):
        frame_face(photo, (1000, 0, 1100, 100))


def test_a_face_found_in_a_photo_decoded_smaller_is_told_in_its_own_pixels(monkeypatch):
    detector = SimpleNamespace(detectMultiScale=lambda *_, **__: np.array([(10, 20, 30, 40)] * found))
    monkeypatch.setattr(verify_faces, "_detector", lambda: detector)
    photo = Image.new("L", (100, 100))
    photo.info["reduced"], found = 4, 1
    assert find_faces(photo) == [(40, 80, 160, 240)]
    found = 2
    monkeypatch.setattr(verify_faces, "open_photo", lambda photo: (photo, "x.jpg"))
    with pytest.raises(DataError, match=r"^x\.jpg: 2 faces found; 40,80,160,240; 40,80,160,240; give the left box"):
        open_face(photo, advised="left box", face="only")


@pytest.mark.parametrize("size", [(8160, 6144), (16320, 12240)])
def test_a_phones_photo_of_50_and_of_200_megapixels_is_read(size):
    photo = read_photo(io.BytesIO(saved(Image.new("L", size, 77))), "x")
    assert (
        photo.width * photo.height <= verify_faces.WORKING_PIXELS
        and full_size(photo) == size
        and photo.getextrema() == (77, 77)
    )


@pytest.mark.parametrize(
    "content",
    [
        bomb(),
        saved(Image.new("1", (10_001, 10_000)), "PNG"),
        JPEG.replace(b"\x08\0\xfa\0\xfa", b"\x08\xff\xf0\xff\xf0", 1),
    ],
    ids=["png", "png below Pillow's limit", "jpeg"],
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(content, monkeypatch):
    monkeypatch.setattr(images, "to_grey", None)
    with pytest.raises(DataError, match=r"^x: not a readable image \(more than .* pixels.*save it smaller\)$"):
        read_photo(io.BytesIO(content), "x")


@pytest.mark.parametrize(
    "kind",
    [
        "jpeg",
        "progressive jpeg",
        "colour jpeg",
        "cmyk jpeg",
        "turned by exif",
        "mirrored by exif",
        "png",
        "palette png",
    ],
)
def test_an_ordinary_photo_is_decoded_as_ever(kind):
    content = IMAGES[kind][0]
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("L")
    assert (np.asarray(read_photo(io.BytesIO(content), "x")) == np.asarray(wanted)).all()


@pytest.mark.parametrize(
    "box, words",
    [
        ((300, 0, 400, 100), "outside"),
        ((-600, -600, 600, 600), "larger than the photo"),
        ((10, 10, 10, 40), "is empty"),
        ((20, 20, 10, 10), "is empty"),
    ],
)
def test_a_box_that_cannot_be_is_named_with_its_photo(box, words, tmp_path):
    FACE.save(tmp_path / "face.png")
    with pytest.raises(DataError, match=rf"face\.png: the box {','.join(map(str, box))} .*{words}"):
        open_face(tmp_path / "face.png", box)


@pytest.mark.parametrize("kind", ["transparent", "16 bits", "turned"])
def test_an_opened_image_is_read_as_its_file_is(kind, tmp_path):
    exif = Image.Exif()
    if kind == "transparent":
        image = FACE.convert("LA")
        image.putalpha(Image.linear_gradient("L").resize(FACE.size))
    elif kind == "16 bits":
        image = Image.fromarray(np.asarray(FACE, np.uint16) * 257)
    else:
        image, exif[0x0112] = FACE, 6
    path = tmp_path / "face.png"
    image.save(path, exif=exif)
    with Image.open(path) as image:
        assert (np.asarray(open_photo(image)[0]) == np.asarray(open_photo(path)[0])).all()


def test_an_opened_image_whose_white_is_unknown_is_refused():
    with pytest.raises(DataError, match=r"^the photo: not a readable image \(pixels of floats"):
        open_photo(Image.new("F", (300, 300)))


def test_a_box_in_a_narrow_photo_does_not_fill_the_memory():
    with pytest.raises(DataError, match="too large"):
        frame_face(Image.new("L", (40_000, 2)), (0, 0, 40_000, 2))


@pytest.mark.parametrize("more", [[], ["--no-report"]])
def test_a_people_file_that_a_later_stage_needs_is_missed_before_anything_is_trained(more, faces, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "study"
    shutil.copytree(faces, data)
    (data / "peopleDevTrain.txt").unlink()
    command = [*study_in(data, out, "--ladder", "beyond", "--stages", "base,all-people"), *more]
    assert main(command) == 2 and "peopleDevTrain.txt is needed" in capsys.readouterr().err
    assert not list(out.glob("runs/*"))
