"""Ways of scoring with the shipped network: `python -m tools.scoring --data-dir DIR --csv FILE`.

Nothing is trained: cohorts, a second view and whitening are measured as `tools.ruler` does, on all pairs of the people whom
the network's training left out for validation. No test pair is read.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.pairs import image_names, read_people
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import development_split
from lfwstudy.errors import StudyError, one_line
from lfwstudy.system.files import check_target, write_csv
from lfwstudy.verify.kept import load_network
from lfwstudy.verify.network import Network
from tools.ruler import SCORING
from tools.ruler_training import measure, views_of

COLUMNS = (*SCORING, "cross_entropy", "auc", "accuracy")


def scoring(network: Network, data_dir: str) -> pd.DataFrame:
    """Measures of a network of View 1 that was trained on all people, a row for each way of scoring: COLUMNS.

    Raises DataError if an image or a pair file is missing.
    """
    data = network.config.data
    (people,) = read_people(pair_file("peopleDevTrain.txt", data.dataset, data_dir))
    pairs, split = development_split(data, data_dir)
    held = set(pairs.take(split.validation).people().ravel())
    views = [prepare_bank(framing, data_dir).subset(image_names([people])) for framing in views_of(data)]
    training = {person: images for person, images in people.items() if person not in held}
    return pd.DataFrame(measure(network, views, training), columns=list(COLUMNS))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="", help="folder with your copy of the images")
    parser.add_argument("--csv", type=Path, required=True, help="file for the measures")
    options = parser.parse_args(arguments)
    try:
        check_target(options.csv)
        found = scoring(load_network(), options.data_dir)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    write_csv(options.csv, COLUMNS, found.to_dict("records"))
    print(found.to_string(index=False, float_format="{:.4f}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
