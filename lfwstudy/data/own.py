"""A folder of anybody's people as a data set in LFW's layout and protocol, made in the cache on first use.

A folder for each person, with images of any size and format that Pillow reads. The same folder gives the same pairs.
"""

import hashlib
import heapq
import math
import os
import re
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations, count, groupby
from pathlib import Path

import numpy as np

from lfwstudy.data.cache import cache_folder, made_once
from lfwstudy.data.images import square
from lfwstudy.data.pairs import image_name, nfc, people_lines
from lfwstudy.errors import DataError, first_few, one_line
from lfwstudy.system.files import FORMULA, write_csv, write_text
from lfwstudy.system.machine import cores

# Increase when the same folder would give other images or pairs.
_VERSION = 1
NOTES, INDEX, _SOURCE = "notes.txt", "images.csv", "made-from.txt"
LEAST_PEOPLE = 14  # two in each of five development and two test groups, one of them with two images
# As in LFW: the share of people who are tested, and the most matched pairs; there are as many mismatched ones.
_TEST_SHARE, _MOST_DEVELOPMENT, _MOST_TEST, _MOST_FOLD, _FOLDS = 0.3, 1100, 500, 300, 10
_MOST_GROUPS = 50
_SMALL = 100

_Groups = list[list[str]]
_Lines = tuple[list[str], ...]


def prepare_own(folder: Path) -> Path:
    """The data folder made from a folder of people: pair and people files, folder/NAME/NAME_0001.pgm, INDEX and NOTES.

    Raises
    ------
    DataError
        If there are too few people or images for development and test pairs.
    """
    people, others = _people(folder)
    _require_people({name: len(files) for name, files in people.items()}, folder)
    key = hashlib.sha256(os.fsencode(f"{_VERSION} {folder}"))
    for path in (path for files in people.values() for path in files):
        key.update(os.fsencode(f"\n{path} {path.stat().st_size} {path.stat().st_mtime_ns}"))
    key.update("\n".join(["", *others]).encode())
    return made_once(cache_folder() / "people" / key.hexdigest()[:16], partial(_make, folder, people, others))


def made_from(data_dir: str) -> str:
    """The folder of people that a folder in the cache was made from; any other data folder is returned as it is."""
    source = Path(data_dir, _SOURCE)
    return os.fsdecode(source.read_bytes()) if data_dir and source.is_file() else data_dir


def draw_files(counts: dict[str, int]) -> dict[str, list[str]]:
    """LFW's pair and people files for people with these numbers of images: their lines, by file name.

    Development and test share no person. People meet only in groups, so that some can be validation and intervals can
    resample them. View 2 is left out if there are too few people for its ten sets.
    """
    rng = np.random.default_rng([_VERSION, 40])
    mixed = [str(name) for name in rng.permutation(sorted(counts))]
    several, single = ([name for name in mixed if (counts[name] > 1) == more] for more in (True, False))
    cut = round(_TEST_SHARE * len(several))
    rest = round(_TEST_SHARE * len(counts)) - cut
    development, test = several[cut:] + single[rest:], several[:cut] + single[:rest]
    tested = _deal(test, counts, max(2, min(_MOST_GROUPS, cut, len(test) // 4)))
    files = {}
    for part, people, blocks, most in (
        ("Train", development, _development_blocks(development, counts), _MOST_DEVELOPMENT),
        ("Test", test, [tested], _MOST_TEST),
    ):
        # Mixed, matched and mismatched alike: a part of the lines has as many of either kind from each block.
        columns = [list(chain(*column)) for column in zip(*_draw(rng, blocks, counts, most // len(blocks)))]
        order = rng.permutation(len(columns[0]))
        files[f"pairsDev{part}.txt"] = [str(len(order)), *(column[row] for column in columns for row in order)]
        files[f"peopleDev{part}.txt"] = people_lines(people, counts)
    if len(several) >= _FOLDS and len(mixed) >= 2 * _FOLDS:
        sets = _deal(mixed, counts, _FOLDS)
        folds = _draw(rng, [[members] for members in sets], counts, _MOST_FOLD)
        files["pairs.txt"] = [f"{_FOLDS}\t{len(folds[0][0])}", *(line for fold in folds for line in chain(*fold))]
        files["people.txt"] = [str(_FOLDS), *(line for members in sets for line in people_lines(members, counts))]
    return files


def _people(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each person, by a name that is safe in LFW's files, and whatever else in the folder is not hidden."""
    found: dict[str, list[Path]] = {}
    others = []
    for entry in sorted(folder.glob("[!.]*"), key=lambda entry: (nfc(entry.name), entry.name)):
        if files := sorted(_files(entry), key=lambda path: nfc(str(path))):
            safe = _safe_name(entry.name)
            names = chain([safe], (f"{safe}_{number}" for number in count(2)))
            found[next(name for name in names if name not in found)] = files
        else:
            others.append(one_line(entry.name))
    return found, others


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in files if not name.startswith(".") and (path := Path(here, name)).is_file())


def _safe_name(folder: str) -> str:
    """A folder's name as a person's in LFW's files: Ada_Lovelace for "Ada Lovelace"."""
    name = re.sub(r"[\s\\]", "_", nfc(folder))
    name = FORMULA.sub(lambda found: f"{found[0][:-1]}_", "".join(c if c.isprintable() else "_" for c in name))
    return name.encode()[:200].decode(errors="ignore")  # a file's name has at most 255 bytes


def _require_people(counts: dict[str, int], folder: Path, notes: Sequence[str] = ()) -> None:
    several = sum(count > 1 for count in counts.values())
    if len(counts) < LEAST_PEOPLE or several < LEAST_PEOPLE // 2:
        raise DataError(
            f"{folder}: too few people: {len(counts)} with images, {several} with two or more; development and test pairs "
            f"need {LEAST_PEOPLE}, {LEAST_PEOPLE // 2} of them with two or more, each a folder PERSON/any-name.jpg"
            + "".join(f"; {note}" for note in notes)
        )


@dataclass
class _File:
    """A person's file, its name in messages (`told`) and where its square goes; the rest is known once it is read."""

    person: str
    path: Path
    told: str
    square: Path
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    wrong: str = ""

    def convert(self) -> None:
        """Write the square, if the file is an image."""
        with open(self.path, "rb") as file:  # not read whole: it may be a video
            try:
                image, self.size = square(file, self.told)
            except DataError as error:
                self.wrong = str(error)
                return
            image.save(self.square)
            file.seek(0)
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()


def _make(folder: Path, people: dict[str, list[Path]], others: list[str], target: Path) -> None:
    from tqdm import tqdm

    owned = [(name, path, one_line(path.relative_to(folder))) for name, paths in people.items() for path in paths]
    files = [_File(*of, target / f"{number}.pgm") for number, of in enumerate(owned)]
    with ThreadPoolExecutor(cores()) as pool:
        silent, read = not sys.stderr.isatty(), pool.map(_File.convert, files)
        deque(tqdm(read, "reading images", len(files), leave=False, unit="image", disable=silent), maxlen=0)
    used, notes = _sorted_out(files)
    if others:
        notes.append(f"not folders with files, left out ({len(others)}): {first_few(others)}")
    counts = Counter(file.person for file in used)
    _require_people(counts, folder, notes)
    rows = []
    for name, images in groupby(used, lambda file: file.person):
        (target / "folder" / name).mkdir(parents=True)
        for number, file in enumerate(images, start=1):
            image = image_name(name, number)
            file.square.rename(target / "folder" / name / f"{image}.pgm")
            rows.append({"image": image, "file": file.told, "sha256": file.digest})
    for file in files:
        file.square.unlink(missing_ok=True)
    write_csv(target / INDEX, list(rows[0]), rows)
    write_text(target / NOTES, "\n".join(notes))
    (target / _SOURCE).write_bytes(os.fsencode(folder))
    for title, lines in draw_files(counts).items():
        write_text(target / title, "\n".join(lines) + "\n")


def _sorted_out(files: Sequence[_File]) -> tuple[list[_File], list[str]]:
    """The images used, by person, and notes on those left out, cropped or enlarged."""
    same: dict[str, list[_File]] = defaultdict(list)
    for file in files:
        if not file.wrong:
            same[file.digest].append(file)
    shared = [alike for alike in same.values() if len({file.person for file in alike}) > 1]
    own = [alike for alike in same.values() if len({file.person for file in alike}) == 1]
    used = [alike[0] for alike in own]
    told_of = {
        "files not readable as images, left out": [file.wrong for file in files if file.wrong],
        "images under several people, left out": [" = ".join(file.told for file in alike) for alike in shared],
        "further copies of a person's image, left out": [file.told for alike in own for file in alike[1:]],
        "images not square, cut to their central square": [file.told for file in used if len(set(file.size)) > 1],
        f"images smaller than {_SMALL} pixels, enlarged": [file.told for file in used if min(file.size) < _SMALL],
    }
    return used, [f"{what} ({len(of)}): {first_few(of)}" for what, of in told_of.items() if of]


def _development_blocks(people: Sequence[str], counts: dict[str, int]) -> list[_Groups]:
    """Groups of development people, each a block, in a multiple of five, so that a fifth of the pairs can be validation.

    Fewer and larger groups can have more pairs: there are as many as cost at most a tenth of the pairs.
    """
    most = min(_MOST_GROUPS, sum(counts[name] > 1 for name in people), len(people) // 8)
    ways = [[[group] for group in _deal(people, counts, number)] for number in range(5, max(5, most) + 1, 5)]
    pairs = [min(_MOST_DEVELOPMENT, len(blocks) * _each(blocks, counts)) for blocks in ways]
    return max((blocks for blocks, able in zip(ways, pairs) if able >= 0.9 * max(pairs)), key=len)


def _deal(people: Sequence[str], counts: dict[str, int], number: int) -> _Groups:
    """Groups of equal size with about as many matched pairs each."""
    groups: _Groups = [[] for _ in range(number)]
    waiting = [(0, 0, group) for group in range(number)]
    for name in sorted(people, key=lambda name: -counts[name]):
        size, matched, group = heapq.heappop(waiting)
        groups[group].append(name)
        heapq.heappush(waiting, (size + 1, matched + math.comb(counts[name], 2), group))
    return groups


def _each(blocks: list[_Groups], counts: dict[str, int]) -> int:
    """The most matched, and as many mismatched, pairs that every block can have."""
    able = []
    for groups in blocks:
        sizes = [np.array([counts[name] for name in group]) for group in groups]
        able.append(sum(int((size * (size - 1)).sum()) // 2 for size in sizes))
        able.append(sum(int(size.sum() ** 2 - (size**2).sum()) // 2 for size in sizes))
    return min(able)


def _draw(rng: np.random.Generator, blocks: list[_Groups], counts: dict[str, int], most: int) -> list[_Lines]:
    """Lines of matched and of mismatched pairs in each block, as many of either kind in every block."""
    wanted, drawn = min(most, _each(blocks, counts)), []
    for groups in blocks:
        people, couples = sorted(chain(*groups)), [pair for group in groups for pair in combinations(sorted(group), 2)]
        same, different = [], []
        for person, number in _choose(rng, [math.comb(counts[name], 2) for name in people], wanted):
            second = (1 + math.isqrt(1 + 8 * number)) // 2  # the pairs (1, 2), (1, 3), (2, 3), (1, 4), ... in turn
            same.append((people[person], number - math.comb(second, 2) + 1, second + 1))
        for couple, number in _choose(rng, [counts[a] * counts[b] for a, b in couples], wanted):
            (a, b), (i, j) = couples[couple], divmod(number, counts[couples[couple][1]])
            different.append((a, i + 1, b, j + 1))
        drawn.append(tuple(["\t".join(map(str, pair)) for pair in sorted(of)] for of in (same, different)))
    return drawn


def _choose(rng: np.random.Generator, able: list[int], wanted: int) -> Iterator[tuple[int, int]]:
    """`wanted` different (kind, number below able[kind]), spread over the kinds as evenly as possible."""
    shares = np.zeros(len(able), int)
    while left := wanted - int(shares.sum()):
        shares[rng.permutation(np.flatnonzero(shares < able))[:left]] += 1
    for kind in np.flatnonzero(shares).tolist():
        yield from ((kind, int(number)) for number in rng.choice(able[kind], shares[kind], replace=False))
