"""Demo data for machines without LFW: drawn faces of made-up people, in LFW's layout and file formats.

Accuracies on them say nothing about LFW.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lfwstudy.data.cache import cache_folder, made_once
from lfwstudy.data.drawn_faces import draw_face
from lfwstudy.data.pairs import image_name, people_lines
from lfwstudy.system.machine import cores

# Increase when different images or pairs would be drawn: it names the cache folder.
DEMO_VERSION = 1
_SETS, _GROUP = 10, 8

_FIRST = (
    "Ada Bela Cleo Dario Edda Falk Gesa Hugo Ines Jaro Kira Lars Mila Nils Olga Pere Quin Rosa Sven Tara Ugo Vera Wim Xenia "
    "Yann Zita Anouk Bruno Carla Dunja"
)
_LAST = (
    "Abendrot Birkholz Crane Drystone Eastfen Fairlamb Greywater Hollow Inkwell Juniper Kestrel Larkspur Moorland Nettle "
    "Oakley Pebble Quarry Rowan Saltmarsh Thistle"
)


def ensure_demo() -> Path:
    """The folder of the demo data set in the cache, drawn on first use: demo/NAME/NAME_0001.jpg and pair files."""
    return made_once(cache_folder() / f"demo-{DEMO_VERSION}", make_demo)


def make_demo(
    folder: Path,
    people: int = 600,
    train_people: int = 400,
    train_pairs: int = 300,
    test_pairs: int = 300,
    fold_pairs: int = 30,
    seed: int = 0,
) -> None:
    """Draw a data set into `folder`: images, pairsDevTrain.txt, pairsDevTest.txt, pairs.txt and the people files.

    train_pairs, test_pairs, fold_pairs: number of matched pairs of each; there are as many mismatched pairs.
    """
    rng = np.random.default_rng([seed, 1])
    names = made_up_names(people)
    # Many people with one image and few with several, as in LFW.
    counts = dict(zip(names, (1 + np.minimum(rng.geometric(0.42, people) - 1, 7)).tolist()))
    _save_faces(folder / "demo", seed, counts)

    order = [names[i] for i in rng.permutation(people)]
    for part, members, wanted in (
        ("Train", sorted(order[:train_people]), train_pairs),
        ("Test", sorted(order[train_people:]), test_pairs),
    ):
        _write(folder / f"pairsDev{part}.txt", [str(wanted), *draw_pairs(rng, members, counts, wanted)])
        _write(folder / f"peopleDev{part}.txt", people_lines(members, counts))
    sets = [sorted(names[i] for i in part) for part in np.array_split(rng.permutation(people), _SETS)]
    pairs = [line for members in sets for line in draw_pairs(rng, members, counts, fold_pairs)]
    _write(folder / "pairs.txt", [f"{_SETS}\t{fold_pairs}", *pairs])
    _write(folder / "people.txt", [str(_SETS), *(line for members in sets for line in people_lines(members, counts))])


def made_up_names(count: int) -> list[str]:
    """`count` different made-up names, sorted."""
    names = [f"{first}_{last}" for first in _FIRST.split() for last in _LAST.split()]
    return sorted([*names, *(f"{name}_{n}" for n in range(2, 2 + count // len(names)) for name in names)][:count])


def draw_pairs(rng: np.random.Generator, members: Sequence[str], counts: dict[str, int], wanted: int) -> list[str]:
    """Lines of `wanted` matched and as many mismatched pairs of people, each class sorted, no pair twice."""
    matched, mismatched = set[tuple](), set[tuple]()
    several = [name for name in members if counts[name] > 1]
    possible = sum(counts[name] * (counts[name] - 1) // 2 for name in several)
    if possible < wanted:
        raise ValueError(f"{wanted} matched pairs wanted, {possible} possible")
    while len(matched) < wanted:
        name = several[rng.integers(len(several))]
        i, j = sorted(rng.choice(counts[name], 2, replace=False) + 1)
        matched.add((name, i, j))
    # Within small groups, so that the graph of people falls into many components, as LFW's does.
    groups = np.array_split(rng.permutation(members), max(1, len(members) // _GROUP))
    while len(mismatched) < wanted:
        group = groups[rng.integers(len(groups))]
        a, b = sorted(rng.choice(group, 2, replace=False).tolist())
        mismatched.add((a, int(rng.integers(counts[a])) + 1, b, int(rng.integers(counts[b])) + 1))
    return ["\t".join(map(str, pair)) for pairs in (matched, mismatched) for pair in sorted(pairs)]


def _save_faces(folder: Path, seed: int, counts: dict[str, int]) -> None:
    import cv2

    def save(index: int, name: str, number: int) -> None:
        image = draw_face([seed, 2, index], [seed, 3, index, number])
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        (folder / name / f"{image_name(name, number)}.jpg").write_bytes(jpeg.tobytes())

    for name in counts:
        (folder / name).mkdir(parents=True)
    work = [(index, name, number) for index, name in enumerate(counts) for number in range(1, counts[name] + 1)]
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(save, *zip(*work)))


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
