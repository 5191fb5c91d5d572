import gzip
import hashlib
import http.server
import os
import shutil
import threading
import types
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pooch
import pytest

from lfwstudy.config import DataConfig
from lfwstudy.data import archives, pair_files, prepare, protocols, registry
from lfwstudy.data.bank import load_bank
from lfwstudy.data.cache import Download, cache_folder, fetch, made_once
from lfwstudy.data.pairs import person_of, read_people
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import StudyPairs, load_pairs
from lfwstudy.data.summary import describe_data
from lfwstudy.errors import ConfigError, DataError
from tests.support.copies import COPIES, copy_of, write_people

CONFIG = DataConfig(dataset="lfw-a", side=40)


@pytest.mark.parametrize("kind", COPIES)
def test_every_form_of_a_copy_gives_the_same_data(faces, tmp_path, kind):
    copy_of(kind, faces, tmp_path)
    pairs = load_pairs(CONFIG, str(tmp_path))
    expected = load_pairs(CONFIG, str(faces)).digest(prepare_bank(CONFIG, str(faces)))
    assert pairs.digest(prepare_bank(CONFIG, str(tmp_path))) == expected


@pytest.mark.parametrize(
    "kind, name",
    [
        ("tgz", "lfwa.tar.gz"),
        ("zip", "lfwa.zip"),
        ("bank", "my-bank.npz"),
        ("kaggle zip", "archive.zip"),
        ("kaggle folder", "archive/lfw2/lfw2"),
        ("archive under another name", "Download (1).ZIP"),
    ],
)
def test_an_archive_or_bank_file_itself_may_be_given(faces, tmp_path, kind, name):
    copy_of(kind, faces, tmp_path)
    given = str(tmp_path / name)
    expected = load_pairs(CONFIG, str(faces)).digest(prepare_bank(CONFIG, str(faces)))
    assert load_pairs(CONFIG, given).digest(prepare_bank(CONFIG, given)) == expected


def test_csv_copies_give_every_view_and_line(faces, tmp_path):
    copy_of("kaggle folder", faces, tmp_path)
    for changes in (
        {"protocol": "view2", "fold": 3},
        {"split": "folds"},
        {"pictures": "all-people"},
        {"protocol": "view2", "fold": 3, "pictures": "all-people"},
    ):
        ours, theirs = (load_pairs(replace(CONFIG, **changes), str(folder)) for folder in (faces, tmp_path))
        assert [part.content() for part in ours.sets().values()] == [part.content() for part in theirs.sets().values()]
        assert ours.test.line.tolist() == theirs.test.line.tolist() and set(ours.extra) == set(theirs.extra)
    (tmp_path / "archive" / "mismatchpairsDevTest.csv").unlink()
    with pytest.raises(DataError, match="matchpairsDevTest.csv: needs .*mismatchpairsDevTest.csv.*missing"):
        load_pairs(CONFIG, str(tmp_path))


@pytest.mark.parametrize("where", [".", "lfwa.zip", "lfwa.tgz"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_composed_wherever_images_come_from(tmp_path, where, form):
    name = unicodedata.normalize(form, "Ren\u00e9e_M\u00fcller")
    write_people(tmp_path / where, "lfw2", [name, unicodedata.normalize(form, "\u1112\u1161\u11ab")])
    bank = prepare_bank(CONFIG, str(tmp_path))
    assert bank.names.tolist() == ["Ren\u00e9e_M\u00fcller_0001", "\ud55c_0001"]
    assert bank.rows([f"{name}_0001"]).tolist() == [0]


@pytest.mark.parametrize("suffix", [".JPG", ".Jpeg", ".jfif", ".PNG", ".bmp", ".ppm", ".webp", ".tif", ".TIFF", ".gif"])
def test_every_suffix_that_is_decoded_is_found(tmp_path, suffix):
    write_people(tmp_path, "lfw2", suffix=suffix)  # what the file is decides its content, not its suffix
    assert prepare_bank(CONFIG, str(tmp_path)).names.tolist() == ["Ada_0001", "Bo_0001"]


@pytest.mark.parametrize(
    "where, root, given, asked, real",
    [
        (".", "lfw-deepfunneled", "lfw-deepfunneled", "lfw", "lfw-deepfunneled"),
        ("lfw.tgz", "lfw-deepfunneled", ".", "lfw", "lfw-deepfunneled"),
        (".", "LFW_Funneled", ".", "lfw", "lfw-funneled"),
        ("lfw.zip", "lfw2", ".", "lfw", "lfw-a"),
        (".", "lfw", "lfw", "lfw-a", "lfw"),
        ("lfw-deepfunneled.tgz", "lfw", ".", "lfw-deepfunneled", "lfw"),
        ("lfw.tgz", "x/lfw-deepfunneled/images", "lfw.tgz", "lfw", "lfw-deepfunneled"),
        ("lfw-deepfunneled (1).zip", "images", "lfw-deepfunneled (1).zip", "lfw", "lfw-deepfunneled"),
        ("archive.zip", "lfw-deepfunneled/lfw-deepfunneled", ".", "lfw-funneled", "lfw-deepfunneled"),
    ],
)
def test_another_variant_is_refused_by_its_name(tmp_path, where, root, given, asked, real):
    write_people(tmp_path / where, root)
    with pytest.raises(DataError, match=f"no images of {asked} found, but .*use --dataset {real}$"):
        prepare_bank(replace(CONFIG, dataset=asked), str(tmp_path / given))
    assert len(prepare_bank(replace(CONFIG, dataset=real), str(tmp_path / given))) == 2


def test_a_link_does_not_hide_another_variant(tmp_path):
    write_people(tmp_path, "lfw-deepfunneled")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lfw").symlink_to(tmp_path / "lfw-deepfunneled")
    with pytest.raises(DataError, match="use --dataset lfw-deepfunneled"):
        prepare_bank(replace(CONFIG, dataset="lfw"), str(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("lfwa.tar.gz", b"\n<!DOCTYPE html>", "lfwa.tar.gz is a web page"),
        ("lfwa.tgz", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("lfw2.zip", b"", "lfw2.zip is an empty file"),
        ("lfwa.zip", b"Rar!\x1a\x07", "RAR.*unpack"),
        ("lfwa.zip", bytes(900), "zeros"),
        ("lfwa.zip", b"x" * 900, "not an archive"),
        ("a/b/c/Ada_0001.jpg", b"", "a/b/c/ is a folder of images such as 'Ada_0001.jpg'"),
        ("Ada/1.JPG", b"", "Ada/ is .*'1.JPG'"),
        ("x" * 200 + "/1.jpg", b"", "xxx/ is a folder of images"),
    ],
)
def test_what_is_there_instead_is_named(tmp_path, name, content, words):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"no images of lfw-a found, but .*{words}") as error:
        prepare_bank(CONFIG, str(tmp_path))
    assert len(str(error.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "where, root, told",
    [("faces.zip", "images", "faces.zip"), (".", "images", "images"), ("faces.tgz", "images", "faces.tgz")],
)
def test_images_without_a_telling_name_are_taken_where_they_are_given(tmp_path, where, root, told):
    write_people(tmp_path / where, root)
    with pytest.raises(DataError, match=f"{told}/? may hold lfw-a: if so, give it as --data-dir"):
        prepare_bank(CONFIG, str(tmp_path))
    assert len(prepare_bank(CONFIG, str(tmp_path / told))) == 2


def test_a_part_of_a_copy_is_not_taken_for_the_whole(tmp_path):
    write_people(tmp_path, "lfw2/test", ["Ada"])
    write_people(tmp_path, "lfw2/train", ["Bo"])
    with pytest.raises(DataError, match="no images of lfw-a found, but lfw2/test/ may hold lfw-a.*lfw2/train/"):
        prepare_bank(CONFIG, str(tmp_path))


def test_an_old_tar_without_a_magic_number_is_read(tmp_path):
    write_people(tmp_path / "lfwa.tgz", "lfw2")
    content = bytearray(gzip.decompress((tmp_path / "lfwa.tgz").read_bytes()))
    content[257:265] = bytes(8)
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    (tmp_path / "lfwa.tgz").write_bytes(content)
    assert len(prepare_bank(CONFIG, str(tmp_path))) == 2


def test_a_damaged_pair_file_in_a_zip_is_one_line(faces, tmp_path):
    copy_of("kaggle zip", faces, tmp_path)
    content = bytearray((tmp_path / "archive.zip").read_bytes())
    content[content.index(b"name,imagenum1")] ^= 1
    (tmp_path / "archive.zip").write_bytes(content)
    with pytest.raises(DataError, match="archive.zip/.*csv: cannot be read"):
        for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
            pair_files.pair_file(name, "lfw-a", str(tmp_path))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("Ada_0001.JPG", b"x", "an image"),
        ("lfwa.tgz", b"<html>", "a web page"),
        ("pairs.txt", b"10\t300\n", "not an archive"),
        ("x.tgz", b"", "an empty file"),
    ],
)
def test_a_file_that_is_no_archive_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {words}.*--data-dir is a folder"):
        prepare_bank(CONFIG, str(tmp_path / name))


def test_second_time_nothing_is_decoded(faces, tmp_path, monkeypatch):
    copy_of("tgz", faces, tmp_path)
    first = prepare_bank(CONFIG, str(tmp_path))
    monkeypatch.setattr(prepare, "build_bank", None)
    assert (prepare_bank(CONFIG, str(tmp_path)).images == first.images).all()


def test_other_framing_or_other_content_is_another_bank(faces, tmp_path):
    copy_of("folder", faces, tmp_path)
    first = prepare_bank(CONFIG, str(tmp_path))
    assert prepare_bank(replace(CONFIG, crop=144), str(tmp_path)).images.tolist() != first.images.tolist()
    victim, other = sorted((tmp_path / "lfw2").rglob("*.jpg"))[:2]
    shutil.copy(other, victim)
    os.utime(victim, (1, 1))
    assert prepare_bank(CONFIG, str(tmp_path)).sha256.tolist() != first.sha256.tolist()


def test_bank_file_for_other_settings_says_what_it_holds(faces, tmp_path):
    copy_of("bank", faces, tmp_path)
    with pytest.raises(DataError, match="side 40.*needed.*side 50"):
        prepare_bank(replace(CONFIG, side=50), str(tmp_path))


def test_a_bank_from_elsewhere_sends_nothing_to_the_terminal(faces, tmp_path):
    copy_of("bank", faces, tmp_path)
    bank = load_bank(tmp_path / "my-bank.npz")
    replace(bank, origin="\x1b[2J", notes=("one\ntwo",)).save(tmp_path / "my-bank.npz")
    lines = describe_data(CONFIG, str(tmp_path))
    assert all(map(str.isprintable, lines)) and r"one\ntwo" in lines


def test_missing_image_names_file_line_and_image(faces, tmp_path):
    copy_of("folder", faces, tmp_path)
    pairs = load_pairs(CONFIG, str(tmp_path))
    name = pairs.test.left[3]
    (tmp_path / "lfw2" / name.rpartition("_")[0] / f"{name}.jpg").unlink()
    with pytest.raises(DataError, match=rf"pairsDevTest.txt, line \d+: image {name}"):
        protocols.check_images(prepare_bank(CONFIG, str(tmp_path)), tmp_path / "pairsDevTest.txt", pairs.test)


def test_cut_short_archive_leaves_no_bank_behind(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    copy_of("tgz", faces, tmp_path)
    path = tmp_path / "lfwa.tar.gz"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match="lfwa.tar.gz"):
        prepare_bank(CONFIG, str(tmp_path))
    assert not list((tmp_path / "cache" / "banks").glob("[!.]*"))


def test_unusable_places_say_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="lfwa.tar.gz.*lfw2/"):
        prepare_bank(CONFIG, str(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        prepare_bank(CONFIG, str(tmp_path / "none"))
    with pytest.raises(DataError, match="archive.org.*--data-dir"):
        prepare_bank(replace(CONFIG, dataset="lfw-deepfunneled"), "")
    for name, meant in (("lfwa", "lfw-a"), ("LFW", "lfw"), ("LFW-DeepFunneled", "lfw-deepfunneled"), ("Demo", "demo")):
        with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
            prepare_bank(replace(CONFIG, dataset=name), str(tmp_path))
    with pytest.raises(ConfigError) as error:
        prepare_bank(replace(CONFIG, dataset="x" * 5000), str(tmp_path))
    assert len(str(error.value)) < 300


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """A download that failed is tried again at once."""
    monkeypatch.setattr(pooch.core, "time", types.SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def server(tmp_path):
    """A server on the loopback address; the first request of each path fails, to be retried."""
    folder = tmp_path / "served"
    folder.mkdir()
    seen = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def do_GET(self):
            seen.append(self.path)
            if seen.count(self.path) == 1 and "flaky" in self.path:
                return self.send_error(503)
            return super().do_GET()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http_server.server_port}", seen
        http_server.shutdown()


def test_download_retries_verifies_and_is_cached(server, tmp_path, monkeypatch):
    folder, url, seen = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "flaky.txt").write_bytes(b"1\n")
    source = Download(f"{url}/flaky.txt", "sha256:" + hashlib.sha256(b"1\n").hexdigest())
    path = fetch("flaky.txt", source)
    assert path.read_bytes() == b"1\n" and seen == ["/flaky.txt"] * 2
    fetch("flaky.txt", source)
    assert len(seen) == 2


def test_two_that_want_the_same_download_fetch_it_once(server, tmp_path, monkeypatch):
    folder, url, seen = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "large.txt").write_bytes(b"1\n" * 5_000_000)
    source = Download(f"{url}/large.txt", "sha256:" + hashlib.sha256(b"1\n" * 5_000_000).hexdigest())
    with ThreadPoolExecutor(2) as pool:  # a lock of a file keeps threads apart as it does processes
        paths = list(pool.map(lambda _: fetch("large.txt", source), range(2)))
    assert paths[0] == paths[1] and paths[0].stat().st_size == 10_000_000 and seen == ["/large.txt"]


def test_download_with_another_digest_is_refused(server, tmp_path, monkeypatch):
    folder, url, _ = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "x.txt").write_bytes(b"changed\n")
    found = hashlib.sha256(b"changed\n").hexdigest()
    with pytest.raises(DataError, match=f"x.txt.*000.*{found}.*--data-dir"):
        fetch("x.txt", Download(f"{url}/x.txt", "sha256:" + "0" * 64))
    assert not [p for p in (tmp_path / "cache" / "downloads").iterdir() if not p.name.startswith(".")]


def test_damaged_download_in_the_cache_is_fetched_again(server, tmp_path, monkeypatch):
    folder, url, seen = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "x.txt").write_bytes(b"right")
    source = Download(f"{url}/x.txt", "sha256:" + hashlib.sha256(b"right").hexdigest())
    fetch("x.txt", source).write_bytes(b"wrong")
    assert fetch("x.txt", source).read_bytes() == b"right" and len(seen) == 2


def test_a_missing_file_on_the_network_says_where_to_put_a_copy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="404.*sha1:abc.*--data-dir"):
        fetch("y.txt", Download(f"{server[1]}/y.txt", "sha1:abc"))


def test_a_redirect_away_from_https_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", "http://example.org/z.txt")
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match="example.org/z.txt: only https"):
            fetch("z.txt", Download(f"http://127.0.0.1:{elsewhere.server_port}/z.txt", "sha1:abc"))
        elsewhere.shutdown()


def test_only_https_is_used_outside_this_machine():
    with pytest.raises(DataError, match="only https"):
        fetch("x.txt", Download("http://example.org/x.txt", "sha1:abc"))
    sources = [dataset.published for dataset in registry.DATASETS.values()] + list(registry.PAIR_FILES.values())
    urls = [source.url for source in sources if source.url]
    assert len(urls) == 6 and all(url.startswith("https://") for url in urls)


def test_view2_trains_on_eight_folds(faces):
    config = replace(CONFIG, protocol="view2", fold=10)
    pairs = load_pairs(config, str(faces))
    assert set(pairs.test.fold) == {10} and set(pairs.validation.fold) == {1}
    assert set(pairs.train.fold) == set(range(2, 10))
    people = [set(part.people().ravel()) for part in pairs.sets().values()]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    # All images of all people are those of the same eight sets, also of people whom no pair names.
    every, sets = load_pairs(replace(config, pictures="all-people"), str(faces)), read_people(faces / "people.txt")
    assert set(person_of(every.extra)) == {person for members in sets[1:9] for person in members}


def test_view2_with_other_than_ten_sets_is_refused(faces, tmp_path):
    copy_of("folder", faces, tmp_path)
    lines = (tmp_path / "pairs.txt").read_text().splitlines()
    (tmp_path / "pairs.txt").write_text("\n".join(["5\t2", *lines[1:21]]))
    with pytest.raises(DataError, match="pairs.txt: 5 sets of pairs, and View 2 has 10"):
        load_pairs(replace(CONFIG, protocol="view2", fold=7), str(tmp_path))


def test_a_folder_that_was_killed_in_the_making_is_made_again(tmp_path):
    for number in (1, os.getpid()):
        (tmp_path / f".lfwstudy-{number}.made").mkdir()
    made = made_once(tmp_path / "made", lambda folder: (folder / "file").write_text("whole"))
    assert (made / "file").is_file() and not list(tmp_path.glob(".lfwstudy*"))


def test_a_data_folder_is_not_ignored_for_the_demo(faces):
    with pytest.raises(DataError, match="--dataset"):
        prepare_bank(DataConfig(side=40), str(faces))


def test_digest_covers_the_pairs(faces):
    bank, pairs = prepare_bank(CONFIG, str(faces)), load_pairs(CONFIG, str(faces))
    swapped = StudyPairs(pairs.validation, pairs.train, pairs.test)
    assert pairs.digest(bank) != swapped.digest(bank)


@pytest.mark.long
@pytest.mark.lfw
def test_real_images_are_all_there(lfw_dir):
    config = DataConfig(dataset="lfw-deepfunneled")
    bank = prepare_bank(config, lfw_dir)
    assert bank.images.shape == (13_233, 105, 105) and len({n.rpartition("_")[0] for n in bank.names}) == 5_749
    assert bank.images.nbytes < 150e6 and load_pairs(config, lfw_dir).digest(bank)
    (cached,) = (
        path
        for path in cache_folder().glob("banks/lfw-deepfunneled-250-105-bilinear-*.npz")
        if len(load_bank(path)) > 100
    )
    assert cached.stat().st_size < 150e6 and len(load_bank(cached)) == 13_233


@pytest.mark.parametrize(
    "changes, names",
    [
        ({}, []),
        ({"split": "folds"}, ["people.txt"]),
        ({"pictures": "all-people"}, ["peopleDevTrain.txt"]),
        ({"pictures": "all-people", "split": "folds"}, ["people.txt", "peopleDevTrain.txt"]),
        ({"protocol": "view2", "fold": 1}, []),
        ({"protocol": "view2", "fold": 1, "pictures": "all-people"}, ["people.txt"]),
    ],
)
def test_people_files_are_asked_for_where_they_are_read(changes, names):
    assert protocols.people_files(DataConfig(**changes)) == names


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("lfw-deepfunneled.7z", b"7z\xbc\xaf\x27\x1c" + bytes(600), "lfw-deepfunneled.7z"),
        ("lfw-deepfunneled.rar", b"Rar!\x1a\x07\x01" + bytes(600), "lfw-deepfunneled.rar"),
        ("lfw-deepfunneled.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(600), "lfw-deepfunneled.tar.zst"),
    ],
)
def test_what_is_there_in_a_form_that_is_not_read_is_named(tmp_path, name, content, told):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="no images of lfw-deepfunneled found, but") as error:
        prepare_bank(DataConfig(dataset="lfw-deepfunneled"), str(tmp_path))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_folder_within_another_variants_is_that_variants(faces, tmp_path):
    (tmp_path / "lfw-deepfunneled").mkdir()
    shutil.copytree(faces / "lfw2", tmp_path / "lfw-deepfunneled" / "faces")
    with pytest.raises(DataError, match="use --dataset lfw-deepfunneled"):
        prepare_bank(DataConfig(dataset="lfw"), str(tmp_path / "lfw-deepfunneled" / "faces"))
    # Many keep all they have of LFW in ~/lfw.
    (tmp_path / "lfw-deepfunneled").rename(tmp_path / "lfw")
    assert len(prepare_bank(DataConfig(dataset="lfw-deepfunneled", side=40), str(tmp_path / "lfw" / "faces"))) > 100


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_an_error_of_the_machine_is_not_told_as_a_damaged_archive(faces, tmp_path, monkeypatch, error):
    with zipfile.ZipFile(tmp_path / "lfwa.zip", "w") as archive:
        for path in sorted((faces / "lfw2").rglob("*.jpg"))[:4]:
            archive.write(path, path.relative_to(faces))

    def failing(source):
        raise error

    monkeypatch.setattr(archives, "members", failing)
    with pytest.raises(type(error)):
        list(archives.read_images(tmp_path / "lfwa.zip"))


def test_an_error_of_the_machine_is_not_told_as_a_damaged_photo(faces, monkeypatch):
    from lfwstudy.verify import faces as photos

    def failing(image, shrink):
        raise MemoryError

    monkeypatch.setattr(photos, "upright", failing)
    with pytest.raises(MemoryError):
        photos.open_photo(next(faces.rglob("*.jpg")))
