"""Lines for the terminal on the contents of a data set: printable, whatever a bank from elsewhere says of itself."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lfwstudy.config import DataConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.duplicates import near_duplicates, odd_pairs
from lfwstudy.data.own import INDEX
from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.pairs import Pairs, person_of
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import audit_random, audit_splits, checked_views, load_pairs, title_of
from lfwstudy.data.registry import DATASETS, IMAGES, PEOPLE, given_data
from lfwstudy.data.splits import component_labels
from lfwstudy.errors import one_line
from lfwstudy.system.text import percent


def describe_data(config: DataConfig, data_dir: str = "") -> list[str]:
    """Counts of a prepared data set. Raises DataError if an image listed in the pair files is missing."""
    bank = _bank_with_progress(config, data_dir)
    people, counts = np.unique(person_of(bank.names), return_counts=True)
    development, test = checked_views(bank, config, data_dir)
    shared = np.intersect1d(development.people(), test.people())
    told = f"{len(shared)} people shared between development and test, for example {shared[0]}" if len(shared) else ""
    title = title_of(bank, config, data_dir)
    lines = [
        f"{title} from {given_data(config.dataset, data_dir) if config.dataset == 'folder' else bank.origin}",
        *bank.notes,
        f"{len(bank):,} images, {len(people):,} people, {int((counts > 1).sum()):,} with two or more",
        f"{len(development):,} development pairs ({len(development.names()):,} different images), "
        f"{len(test):,} test pairs ({len(test.names()):,} different images)",
        told or "no person shared between development and test",
        f"prepared as grey {config.side}x{config.side} from the central {config.crop}x{config.crop} of 250x250, "
        f"{config.filter} filter, {bank.images.nbytes / 1e6:.0f} MB",
    ]
    if config.dataset == "folder":
        lines += _how_precise(test, pair_file("pairsDevTest.txt", config.dataset, data_dir).parent)
    elif title != DATASETS[config.dataset].title:
        lines.append("note: neither LFW's number of images nor its pairs; use --dataset folder for people of your own")
    elif config.dataset != "demo" and (len(bank), len(people)) != (IMAGES, PEOPLE):
        lines.append(
            f"note: LFW has {IMAGES:,} images of {PEOPLE:,} people; this copy is not complete, but holds every image "
            "listed in the pair files"
        )
    return [one_line(line) for line in lines]


def describe_audit(config: DataConfig, data_dir: str = "") -> list[str]:
    """What training and validation share under each split, photographs under two names, and odd pairs."""
    audits = audit_splits(config, data_dir)
    lines = [
        f"{name}: {a['train_matched']} + {a['train_mismatched']} training, {a['validation_matched']} + "
        f"{a['validation_mismatched']} validation pairs (matched + mismatched), {a['pairs_dropped']} dropped; shared: "
        f"{a['shared_people']} of {a['validation_people']} validation people, {a['shared_images']} of "
        f"{a['validation_images']} images, {a['touched_pairs']} of {a['validation_pairs']} pairs touched; "
        f"majority-class baseline {a['majority_accuracy']:.3f}"
        for name, a in audits.items()
    ]
    if "folds" not in audits:
        lines.append("folds: needs people.txt, with enough people in its sets")
    return [*lines, random_splits_in_words(audit_random(config, data_dir)), *_duplicate_lines(config, data_dir)]


def random_splits_in_words(audits: Sequence[Mapping[str, float]]) -> str:
    """A sentence on what random splits share: mean and range in percent. audits: as from `audit_random`."""

    def span(shared: str, total: str) -> str:
        shares = [100 * a[shared] / a[total] for a in audits]
        return f"{np.mean(shares):.0f} % ({min(shares):.0f} to {max(shares):.0f})"

    return (
        f"Over {len(audits)} random splits, {span('shared_people', 'validation_people')} of validation people and "
        f"{span('shared_images', 'validation_images')} of validation images are in training too, and "
        f"{span('touched_pairs', 'validation_pairs')} of validation pairs are touched."
    )


def _how_precise(test: Pairs, folder: Path) -> list[str]:
    error, groups = 1.96 * math.sqrt(0.75 * 0.25 / len(test)), component_labels(test).max() + 1
    return [
        f"with {len(test):,} test pairs (LFW: 1,000), the 95 % interval of an accuracy of 75 % is ± {percent(error)} points at best, and "
        f"wider because pairs share people: they are of {len(np.unique(test.people()))} people in {groups} separate groups",
        f"pair files, people files and {INDEX}, which names the source file of each image: {folder}",
    ]


def _bank_with_progress(config: DataConfig, data_dir: str) -> ImageBank:
    from tqdm import tqdm

    total, silent = IMAGES if config.dataset.startswith("lfw") else None, not sys.stderr.isatty()
    with tqdm(total=total, desc="decoding images", unit="image", leave=False, disable=silent) as bar:
        return prepare_bank(config, data_dir, progress=lambda done: bar.update(done - bar.n))


def _duplicate_lines(config: DataConfig, data_dir: str) -> list[str]:
    pairs, found = load_pairs(config, data_dir), near_duplicates(prepare_bank(config, data_dir))
    lines = [
        f"one photograph under two names: {d.left} = {d.right} (correlation {d.correlation:.3f})"
        for d in found
        if d.two_names()
    ]
    for odd in odd_pairs(found, pairs):
        part, row = pairs.sets()[odd.set], odd.row
        lines.append(f"odd pair: {odd.set}, line {part.line[row]}: {part.left[row]} and {part.right[row]}: {odd.why}")
    return [one_line(line) for line in lines] or ["no photograph under two names, no odd pair"]
