"""What does the data set hold? Lines for the terminal."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lfwstudy.config import SPLITS
from lfwstudy.data.duplicates import near_duplicates, odd_pairs
from lfwstudy.data.pair_files import has_pair_file, pair_file
from lfwstudy.data.pairs import person_of, read_view1
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import audit_random, audit_split, check_images, load_pairs
from lfwstudy.data.registry import DATASETS, IMAGES, PEOPLE


def describe_data(config, data_dir=""):
    """Counts of a prepared data set, checked: every pair's pictures are there, nobody is on both sides."""
    from tqdm import tqdm

    with tqdm(
        total=IMAGES if config.dataset != "demo" else None,
        desc="decoding pictures",
        unit="picture",
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        bank = prepare_bank(config, data_dir, progress=lambda done: bar.update(done - bar.n))
    people, counts = np.unique(person_of(bank.names), return_counts=True)
    parts = []
    for file in ("pairsDevTrain.txt", "pairsDevTest.txt"):
        path = pair_file(file, config.dataset, data_dir)
        parts.append(read_view1(path))
        check_images(bank, path, parts[-1])
    shared = np.intersect1d(*(part.people() for part in parts))
    lines = [
        f"{DATASETS[config.dataset].title} from {bank.origin}",
        *bank.notes,
        f"{len(bank):,} images, {len(people):,} people, {int((counts > 1).sum()):,} with two or more",
        f"{len(parts[0]):,} development pairs ({len(parts[0].names()):,} different images), "
        f"{len(parts[1]):,} test pairs ({len(parts[1].names()):,} different images)",
        "no person shared between development and test"
        if len(shared) == 0
        else f"{len(shared)} people shared between development and test, for example {shared[0]}",
        f"prepared as grey {config.side}x{config.side} from the central {config.crop}x{config.crop} of 250x250, "
        f"{config.filter} filter, {bank.images.nbytes / 1e6:.0f} MB",
    ]
    if config.dataset != "demo" and (len(bank), len(people)) != (IMAGES, PEOPLE):
        lines.append(
            f"note: LFW has {IMAGES:,} images of {PEOPLE:,} people; this copy is not complete, but holds "
            "every picture that the pairs name"
        )
    return lines


def describe_audit(config, data_dir=""):
    """What training and validation share under each split, in lines."""
    lines = []
    for name in SPLITS:
        if name == "folds" and not has_pair_file("people.txt", config.dataset, data_dir):
            lines.append("folds: needs people.txt, which is not at hand")
            continue
        a = audit_split(replace(config, split=name), data_dir)
        lines.append(
            f"{name}: {a['train_matched']} + {a['train_mismatched']} training, {a['validation_matched']} + "
            f"{a['validation_mismatched']} validation pairs (same + different), {a['pairs_dropped']} dropped; shared: "
            f"{a['shared_people']} of {a['validation_people']} validation people, {a['shared_images']} of "
            f"{a['validation_images']} images, {a['touched_pairs']} of {a['validation_pairs']} pairs touched; "
            f"the constant answer scores {a['majority_accuracy']:.3f}"
        )
    return [*lines, random_splits_in_words(audit_random(config, data_dir)), *_duplicate_lines(config, data_dir)]


def random_splits_in_words(audits: Sequence[Mapping[str, int]]) -> str:
    """How much random splits share, as a sentence: mean and range in percent. audits: of `audit_random`."""

    def span(shared: str, total: str) -> str:
        shares = [100 * a[shared] / a[total] for a in audits]
        return f"{np.mean(shares):.0f} % ({min(shares):.0f} to {max(shares):.0f})"

    return (
        f"Over {len(audits)} random splits, {span('shared_people', 'validation_people')} of validation people and "
        f"{span('shared_images', 'validation_images')} of validation images are in training too, and "
        f"{span('touched_pairs', 'validation_pairs')} of validation pairs are touched."
    )


def _duplicate_lines(config, data_dir):
    pairs = load_pairs(config, data_dir)
    found = near_duplicates(prepare_bank(config, data_dir))
    lines = [
        f"one photograph under two names: {d.left} = {d.right} (correlation {d.correlation:.3f})"
        for d in found
        if d.two_names()
    ]
    parts = pairs.sets()
    lines += [
        f"odd pair: {o.set}, line {parts[o.set].line[o.row]}: {parts[o.set].left[o.row]} and "
        f"{parts[o.set].right[o.row]}: {o.why}"
        for o in odd_pairs(found, pairs)
    ]
    return lines or ["no photograph under two names, no odd pair"]
