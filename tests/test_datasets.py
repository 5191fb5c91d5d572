import hashlib
import http.server
import io
import os
import shutil
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lfwstudy import datasets
from lfwstudy.bank import load_bank
from lfwstudy.config import DataConfig
from lfwstudy.datasets import Download, StudyPairs, load_pairs, prepare_bank
from lfwstudy.errors import ConfigError, DataError

CONFIG = DataConfig(dataset="lfw-a", side=40)


def copy_pair_files(faces, folder):
    for file in faces.glob("*.txt"):
        shutil.copy(file, folder)


def pack(faces, folder, kind):
    """The drawn faces as a user may have them."""
    source = faces / "lfw2"
    if kind == "folder":
        shutil.copytree(source, folder / "lfw2")
    elif kind == "nested folder":
        shutil.copytree(source, folder / "lfw2" / "lfw2")
    elif kind == "flat folder":
        shutil.copytree(source, folder, dirs_exist_ok=True)
    elif kind == "tgz":
        with tarfile.open(folder / "lfwa.tar.gz", "w:gz") as archive:
            archive.add(source, "lfw2")
    elif kind == "zip":
        with zipfile.ZipFile(folder / "lfwa.zip", "w") as archive:
            for file in sorted(source.rglob("*.jpg")):
                archive.write(file, file.relative_to(source.parent))
    elif kind == "bank":
        bank = prepare_bank(CONFIG, str(faces))
        bank.subset(load_pairs(CONFIG, str(faces)).names()).save(folder / "my-bank.npz")
    copy_pair_files(faces, folder)


@pytest.mark.parametrize("kind", ["folder", "nested folder", "flat folder", "tgz", "zip", "bank"])
def test_every_form_of_a_copy_gives_the_same_data(faces, tmp_path, kind):
    pack(faces, tmp_path, kind)
    pairs = load_pairs(CONFIG, str(tmp_path))
    expected = load_pairs(CONFIG, str(faces)).digest(prepare_bank(CONFIG, str(faces)))
    assert pairs.digest(prepare_bank(CONFIG, str(tmp_path))) == expected


def test_second_time_nothing_is_decoded(faces, tmp_path, monkeypatch):
    pack(faces, tmp_path, "tgz")
    first = prepare_bank(CONFIG, str(tmp_path))
    monkeypatch.setattr(datasets, "build_bank", None)
    assert (prepare_bank(CONFIG, str(tmp_path)).images == first.images).all()


def test_other_framing_or_other_content_is_another_bank(faces, tmp_path):
    pack(faces, tmp_path, "folder")
    first = prepare_bank(CONFIG, str(tmp_path))
    assert prepare_bank(replace(CONFIG, crop=144), str(tmp_path)).images.tolist() != first.images.tolist()
    victim, other = sorted((tmp_path / "lfw2").rglob("*.jpg"))[:2]
    shutil.copy(other, victim)
    os.utime(victim, (1, 1))
    assert prepare_bank(CONFIG, str(tmp_path)).sha256.tolist() != first.sha256.tolist()


def test_bank_file_for_other_settings_says_what_it_holds(faces, tmp_path):
    pack(faces, tmp_path, "bank")
    with pytest.raises(DataError, match="side 40.*wanted.*side 50"):
        prepare_bank(replace(CONFIG, side=50), str(tmp_path))


def test_missing_picture_names_file_line_and_picture(faces, tmp_path):
    pack(faces, tmp_path, "folder")
    pairs = load_pairs(CONFIG, str(tmp_path))
    name = pairs.test.left[3]
    (tmp_path / "lfw2" / name.rpartition("_")[0] / f"{name}.jpg").unlink()
    with pytest.raises(DataError, match=rf"pairsDevTest.txt, line \d+: picture {name}"):
        datasets.check_pictures(prepare_bank(CONFIG, str(tmp_path)), tmp_path / "pairsDevTest.txt", pairs.test)


@pytest.mark.parametrize("member", ["/etc/A/A_0001.jpg", "lfw2/../../A/A_0001.jpg", "lfw2\\A\\A_0001.jpg"])
def test_archive_members_outside_the_tree_are_refused(tmp_path, member):
    with tarfile.open(tmp_path / "lfwa.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match="refused"):
        prepare_bank(CONFIG, str(tmp_path))


def test_links_devices_and_bombs_are_refused(tmp_path):
    for kind, size in ((tarfile.SYMTYPE, 0), (tarfile.CHRTYPE, 0), (tarfile.REGTYPE, 9 << 20)):
        with tarfile.open(tmp_path / "lfwa.tar.gz", "w:gz") as archive:
            info = tarfile.TarInfo("lfw2/A/A_0001.jpg")
            info.type, info.size, info.linkname = kind, size, "/etc/passwd"
            archive.addfile(info, io.BytesIO(bytes(size)))
        with pytest.raises(DataError, match="link or a device|refused"):
            prepare_bank(CONFIG, str(tmp_path))


def test_cut_short_archive_leaves_no_bank_behind(faces, tmp_path, cache):
    pack(faces, tmp_path, "tgz")
    path = tmp_path / "lfwa.tar.gz"
    path.write_bytes(path.read_bytes()[:-3000])
    before = set((cache / "banks").glob("[!.]*"))
    with pytest.raises(DataError, match="lfwa.tar.gz"):
        prepare_bank(CONFIG, str(tmp_path))
    assert set((cache / "banks").glob("[!.]*")) == before


def test_unusable_places_say_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="lfwa.tar.gz.*lfw2/"):
        prepare_bank(CONFIG, str(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        prepare_bank(CONFIG, str(tmp_path / "none"))
    with pytest.raises(DataError, match="archive.org.*--data-dir"):
        prepare_bank(replace(CONFIG, dataset="lfw-deepfunneled"), "")
    with pytest.raises(ConfigError, match="did you mean 'lfw-a'"):
        prepare_bank(replace(CONFIG, dataset="lfwa"), str(tmp_path))


@pytest.fixture
def server(tmp_path):
    """A server of our own on the loopback address; the first request of each path fails, to be tried again."""
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
    path = datasets.fetch("flaky.txt", source)
    assert path.read_bytes() == b"1\n" and seen == ["/flaky.txt"] * 2
    datasets.fetch("flaky.txt", source)
    assert len(seen) == 2


def test_two_that_want_the_same_download_fetch_it_once(server, tmp_path, monkeypatch):
    folder, url, seen = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "large.txt").write_bytes(b"1\n" * 5_000_000)
    source = Download(f"{url}/large.txt", "sha256:" + hashlib.sha256(b"1\n" * 5_000_000).hexdigest())
    with ThreadPoolExecutor(2) as pool:  # a lock of a file keeps threads apart as it does processes
        paths = list(pool.map(lambda _: datasets.fetch("large.txt", source), range(2)))
    assert paths[0] == paths[1] and paths[0].stat().st_size == 10_000_000 and seen == ["/large.txt"]


def test_download_with_another_digest_is_refused(server, tmp_path, monkeypatch):
    folder, url, _ = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "x.txt").write_bytes(b"changed\n")
    found = hashlib.sha256(b"changed\n").hexdigest()
    with pytest.raises(DataError, match=f"x.txt.*{found}.*0000.*--data-dir"):
        datasets.fetch("x.txt", Download(f"{url}/x.txt", "sha256:" + "0" * 64))
    assert [p.name for p in (tmp_path / "cache" / "downloads").iterdir() if not p.name.startswith(".")] == ["x.txt.refused"]


def test_damaged_download_in_the_cache_is_fetched_anew(server, tmp_path, monkeypatch):
    folder, url, seen = server
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    (folder / "x.txt").write_bytes(b"right")
    source = Download(f"{url}/x.txt", "sha256:" + hashlib.sha256(b"right").hexdigest())
    datasets.fetch("x.txt", source).write_bytes(b"wrong")
    assert datasets.fetch("x.txt", source).read_bytes() == b"right" and len(seen) == 2


def test_a_missing_file_on_the_network_says_where_to_put_a_copy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="404.*sha1:abc.*--data-dir"):
        datasets.fetch("y.txt", Download(f"{server[1]}/y.txt", "sha1:abc"))


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
            datasets.fetch("z.txt", Download(f"http://127.0.0.1:{elsewhere.server_port}/z.txt", "sha1:abc"))
        elsewhere.shutdown()


def test_only_https_is_used_outside_this_machine():
    with pytest.raises(DataError, match="only https"):
        datasets.fetch("x.txt", Download("http://example.org/x.txt", "sha1:abc"))
    sources = [d.download for d in datasets.DATASETS.values()] + list(datasets.PAIR_FILES.values())
    assert all(source.url.startswith("https://") for source in sources if source)


def test_view2_trains_on_eight_folds(faces):
    config = replace(CONFIG, protocol="view2", fold=10)
    pairs = load_pairs(config, str(faces))
    assert set(pairs.test.fold) == {10} and set(pairs.validation.fold) == {1}
    assert set(pairs.train.fold) == set(range(2, 10))
    people = [set(part.people().ravel()) for _, part in pairs.parts()]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]


def test_digest_covers_the_pairs(faces):
    bank, pairs = prepare_bank(CONFIG, str(faces)), load_pairs(CONFIG, str(faces))
    swapped = StudyPairs(pairs.validation, pairs.train, pairs.test)
    assert pairs.digest(bank) != swapped.digest(bank)


@pytest.mark.lfw
def test_real_images_are_all_there(lfw_dir):
    config = DataConfig(dataset="lfw-deepfunneled")
    bank = prepare_bank(config, lfw_dir)
    assert bank.images.shape == (13_233, 105, 105) and len(set(n.rpartition("_")[0] for n in bank.names)) == 5_749
    assert bank.images.nbytes < 150e6 and load_pairs(config, lfw_dir).digest(bank)
    cached = [p for p in datasets.cache_folder().glob("banks/lfw-deepfunneled-*.npz")]
    assert cached and cached[0].stat().st_size < 150e6 and len(load_bank(cached[0])) == 13_233


@pytest.mark.parametrize("changes, names", [
    ({}, []), ({"split": "folds"}, ["people.txt"]), ({"pictures": "all-people"}, ["peopleDevTrain.txt"]),
    ({"pictures": "all-people", "split": "folds"}, ["people.txt", "peopleDevTrain.txt"]),
    ({"protocol": "view2", "fold": 1}, []), ({"protocol": "view2", "fold": 1, "pictures": "all-people"}, ["people.txt"])])
def test_people_files_are_asked_for_where_they_are_read(changes, names):
    assert datasets.people_files(DataConfig(**changes)) == names
