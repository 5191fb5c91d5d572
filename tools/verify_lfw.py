"""`lfwstudy verify` measured on LFW through the whole path: face found, framed, scored.

`python -m tools.verify_lfw --dataset lfw-deepfunneled --data-dir DIR --json results/verify.json` counts, with the shipped
network and each rule for several faces, the pairs that can be scored and the correct answers among them. The rule is
chosen on the validation pairs; the test pairs are for the record.
"""

import argparse
import io
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from lfwstudy.data.archives import read_images
from lfwstudy.data.pairs import Pairs, nfc
from lfwstudy.data.protocols import load_pairs
from lfwstudy.data.registry import DATASETS, resolve_data_dir
from lfwstudy.data.splits import component_labels
from lfwstudy.data.survey import find_source
from lfwstudy.errors import DataError, StudyError, one_line
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.system.files import check_target, read_json, write_json
from lfwstudy.verify import FACES
from lfwstudy.verify.faces import choose_face, find_faces, frame_face, full_size, read_photo
from lfwstudy.verify.kept import SHIPPED, load_network
from lfwstudy.verify.network import Network

# The image as it is: LFW's own frame around the face.
PLAIN = "none"
# By image name: its face's embedding, or None where no face counts.
Embeddings = dict[str, np.ndarray | None]


def measure(dataset: str, data_dir: str = "") -> dict[str, Any]:
    """Detect, frame and score; returns what goes to the JSON file. Shares from 0 to 1.

    Returns
    -------
    dict
        `sets`: by name, validation and test, the number of `pairs` and the `rules`, by name: `scored`, the share of pairs
        that can be scored; `accuracy` on these with its interval over connected components of people, [mean, low, high];
        `auc`; `plain`, the accuracy on the same pairs without detection. `chosen`: the rule with most correct answers on
        the validation pairs, those that cannot be scored counted as incorrect. `run`: the shipped network's.

    Raises
    ------
    DataError
        If an image of the pairs is missing or unreadable.
    """
    network = load_network()
    found = load_pairs(replace(network.config.data, dataset=dataset, pictures="pairs"), data_dir)
    sets = {"validation": found.validation, "test": found.test}
    source = find_source(DATASETS[dataset], resolve_data_dir(dataset, data_dir), explicit=bool(data_dir))
    wanted = {name for pairs in sets.values() for name in pairs.names().tolist()}
    embeddings = _embed(network, read_images(source), wanted)
    result: dict[str, Any] = {
        name: {"pairs": len(pairs), "rules": {rule: _scored(network, pairs, embeddings, rule) for rule in embeddings}}
        for name, pairs in sets.items()
    }
    rules = result["validation"]["rules"]
    return {
        "run": read_json(SHIPPED / "run.json")["run"],
        "dataset": DATASETS[dataset].title,
        "chosen": max(FACES, key=lambda rule: rules[rule]["scored"] * rules[rule]["accuracy"][0]),
        "sets": result,
    }


def table(result: dict[str, Any]) -> Table:
    """The measurement as a table."""
    columns = [Column("pairs"), Column("face that counts"), Column("scored, %", "percent")]
    columns += [Column("accuracy on these [95 %], %", "percent"), Column("AUC", "number", digits=3)]
    columns += [Column("the same pairs without detection, %", "percent")]
    titles = dict(zip(FACES, ("the largest, most central one", "the only one")), **{PLAIN: "no detection"})
    rows = [
        {
            "pairs": f"{name}, {of_set['pairs']:,}",
            "face that counts": titles[rule] + " (chosen)" * (rule == result["chosen"]),
            "scored, %": of_rule["scored"],
            "accuracy on these [95 %], %": Interval(*of_rule["accuracy"]),
            "AUC": of_rule["auc"],
            "the same pairs without detection, %": of_rule["plain"],
        }
        for name, of_set in result["sets"].items()
        for rule, of_rule in of_set["rules"].items()
    ]
    caption = (
        f"{result['dataset']}, whole images of 250x250 pixels given to `lfwstudy verify`, at P(same) 0.5. The rule was chosen on "
        "the validation pairs, those that cannot be scored counted as incorrect; both rules had been tried on the test pairs "
        "before. No detection: framed as in training. Intervals: over connected components of people."
    )
    return Table(columns, rows, caption)


def _embed(network: Network, images: Iterable[tuple[str, bytes]], wanted: set[str]) -> dict[str, Embeddings]:
    """Embeddings of the images wanted, by rule. Raises DataError if one is missing."""
    embeddings: dict[str, Embeddings] = {rule: {} for rule in (*FACES, PLAIN)}
    with tqdm(total=len(wanted), desc="finding faces", unit="image", disable=None) as bar:
        for name, content in ((nfc(name), content) for name, content in images):
            if name not in wanted:
                continue
            photo = read_photo(io.BytesIO(content), name)
            boxes = find_faces(photo)
            chosen = {rule: choose_face(boxes, full_size(photo), rule) for rule in FACES}
            frames = {box: network.frame(frame_face(photo, box)) for box in chosen.values() if box}
            rows = network.embed(np.stack([*frames.values(), network.frame(photo)]))
            by_box = dict(zip(frames, rows))
            for rule, box in chosen.items():
                embeddings[rule][name] = by_box[box] if box else None
            embeddings[PLAIN][name] = rows[-1]
            bar.update()
    if missing := sorted(wanted - embeddings[PLAIN].keys()):
        raise DataError(f"{missing[0]}: no such image ({len(missing)} missing)")
    return embeddings


def _scored(network: Network, pairs: Pairs, embeddings: dict[str, Embeddings], rule: str) -> dict[str, Any]:
    known = [all(embeddings[rule][name] is not None for name in pair) for pair in zip(pairs.left, pairs.right)]
    rows = pairs.take(np.flatnonzero(known))
    if not len(rows):
        raise DataError(f"not one of {len(pairs)} pairs can be scored with the rule {rule}")

    def scores(of: Embeddings) -> np.ndarray:
        left, right = (np.array([of[name] for name in names]) for names in (rows.left, rows.right))
        return network.score(left, right)

    score = scores(embeddings[rule])
    correct = (score > 0.5) == (rows.label > 0.5)
    low, high = intervals.mean_interval(correct[None], component_labels(rows), draws=4000)
    return {
        "scored": len(rows) / len(pairs),
        "accuracy": [float(correct.mean()), low, high],
        "auc": metrics.auc(rows.label, score),
        "plain": metrics.accuracy(rows.label, scores(embeddings[PLAIN])),
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify_lfw", description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="lfw-deepfunneled", help=", ".join(DATASETS))
    parser.add_argument("--data-dir", default="", help="folder with your copy of the images and pair files")
    parser.add_argument("--json", required=True, help="file for the result")
    options = parser.parse_args(arguments)
    try:
        check_target(options.json)
        result = measure(options.dataset, options.data_dir)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    write_json(options.json, result)
    print(table(result).to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
