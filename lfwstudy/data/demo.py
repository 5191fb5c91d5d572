"""What can a machine without the data run? Drawn faces of made-up people, in LFW's own layout and file formats.

Identity (face shape, hair, brows, eyes, nose, mouth, spacing, tone) is drawn once per person; pose, light,
expression, blur, background and noise once per picture. What a network scores on them says nothing about LFW.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lfwstudy.data.drawn_faces import draw_face
from lfwstudy.data.pairs import image_name
from lfwstudy.system.machine import cores

# Raised whenever other pictures or pairs would be drawn: it names the cache folder.
DEMO_VERSION = 1
SETS, PEOPLE_PER_SET = 10, 60
TRAIN_PEOPLE = 400
TRAIN_PAIRS, TEST_PAIRS, FOLD_PAIRS = 300, 300, 30
GROUP = 8

_FIRST = [
    "Ada",
    "Bela",
    "Cleo",
    "Dario",
    "Edda",
    "Falk",
    "Gesa",
    "Hugo",
    "Ines",
    "Jaro",
    "Kira",
    "Lars",
    "Mila",
    "Nils",
    "Olga",
    "Pere",
    "Quin",
    "Rosa",
    "Sven",
    "Tara",
    "Ugo",
    "Vera",
    "Wim",
    "Xenia",
    "Yann",
    "Zita",
    "Anouk",
    "Bruno",
    "Carla",
    "Dunja",
]
_LAST = [
    "Abendrot",
    "Birkholz",
    "Crane",
    "Drystone",
    "Eastfen",
    "Fairlamb",
    "Greywater",
    "Hollow",
    "Inkwell",
    "Juniper",
    "Kestrel",
    "Larkspur",
    "Moorland",
    "Nettle",
    "Oakley",
    "Pebble",
    "Quarry",
    "Rowan",
    "Saltmarsh",
    "Thistle",
]


def ensure_demo(cache):
    """The folder of the demo data set below `cache`, drawn on first use: demo/NAME/NAME_0001.jpg and pair files."""
    folder = Path(cache) / f"demo-{DEMO_VERSION}"
    if folder.is_dir():
        return folder
    temporary = Path(cache) / f".demo-{DEMO_VERSION}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        make_demo(temporary)
        try:
            os.rename(temporary, folder)
        except OSError:  # another process was faster; both draw the same
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def make_demo(
    folder,
    people=SETS * PEOPLE_PER_SET,
    train_people=TRAIN_PEOPLE,
    train_pairs=TRAIN_PAIRS,
    test_pairs=TEST_PAIRS,
    fold_pairs=FOLD_PAIRS,
    seed=0,
):
    """Draw a data set into `folder`: pictures, pairsDevTrain.txt, pairsDevTest.txt, pairs.txt and the people files."""
    folder = Path(folder)
    rng = np.random.default_rng([seed, 1])
    names = made_up_names(people)
    # Many people with one picture and few with several, as in LFW.
    counts = dict(zip(names, (1 + np.minimum(rng.geometric(0.42, people) - 1, 7)).tolist()))
    work = [(name, number) for name in names for number in range(1, counts[name] + 1)]
    for name in names:
        (folder / "demo" / name).mkdir(parents=True)
    with ThreadPoolExecutor(cores()) as pool:
        index = {name: i for i, name in enumerate(names)}
        list(pool.map(lambda item: _save_face(folder, seed, index[item[0]], *item), work))
    order = rng.permutation(people)
    train = sorted(names[i] for i in order[:train_people])
    test = sorted(names[i] for i in order[train_people:])
    for title, members, wanted in (("Train", train, train_pairs), ("Test", test, test_pairs)):
        matched, mismatched = draw_pairs(rng, members, counts, wanted)
        _write(folder / f"pairsDev{title}.txt", [str(wanted), *matched, *mismatched])
        _write(folder / f"peopleDev{title}.txt", [str(len(members)), *(f"{n}\t{counts[n]}" for n in members)])
    sets = [sorted(names[i] for i in part) for part in np.array_split(rng.permutation(people), SETS)]
    lines, people_lines = [f"{SETS}\t{fold_pairs}"], [str(SETS)]
    for members in sets:
        matched, mismatched = draw_pairs(rng, members, counts, fold_pairs)
        lines += [*matched, *mismatched]
        people_lines += [str(len(members)), *(f"{n}\t{counts[n]}" for n in members)]
    _write(folder / "pairs.txt", lines)
    _write(folder / "people.txt", people_lines)


def made_up_names(count):
    """`count` different made-up names, sorted."""
    names = [f"{first}_{last}" for first in _FIRST for last in _LAST]
    names += [f"{first}_{last}_{n}" for n in range(2, 2 + count // len(names)) for first in _FIRST for last in _LAST]
    return sorted(names[:count])


def draw_pairs(rng, members, counts, wanted):
    """Lines of `wanted` matched and as many mismatched pairs among people, sorted, none twice."""
    matched, mismatched = set(), set()
    several = [name for name in members if counts[name] > 1]
    possible = sum(counts[n] * (counts[n] - 1) // 2 for n in several)
    if possible < wanted:
        raise ValueError(f"{wanted} matched pairs wanted, {possible} possible")
    while len(matched) < wanted:
        name = several[rng.integers(len(several))]
        i, j = sorted(rng.choice(counts[name], 2, replace=False) + 1)
        matched.add((name, i, j))
    # Within small groups, so that the graph of people falls into many components, as LFW's does.
    groups = np.array_split(rng.permutation(members), max(1, len(members) // GROUP))
    while len(mismatched) < wanted:
        group = groups[rng.integers(len(groups))]
        a, b = sorted(str(name) for name in rng.choice(group, 2, replace=False))
        mismatched.add((a, int(rng.integers(counts[a])) + 1, b, int(rng.integers(counts[b])) + 1))
    return (["\t".join(map(str, pair)) for pair in sorted(group)] for group in (matched, mismatched))


def _save_face(folder, seed, index, name, number):
    import cv2

    picture = draw_face([seed, 2, index], [seed, 3, index, number])
    path = folder / "demo" / name / f"{image_name(name, number)}.jpg"
    path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())


def _write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
