"""Measurements beside the study: runs of their own, finished ones never trained again, and one JSON file of figures."""

import argparse
import sys
from pathlib import Path

from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job
from lfwstudy.system.files import write_json


def job(config, seed, precision, data_dir, store, title) -> Job:
    """What an executor trains: a RunConfig on one thread, as many side by side as there are cores."""
    digest = load_pairs(config.data, data_dir).digest(prepare_bank(config.data, data_dir))
    run = config.identify(seed, precision, digest)
    folder = str(Path(data_dir).absolute()) if data_dir else ""
    return Job(run, config, store.folder(run), seed, precision, folder, digest, title=title)


def finish(jobs, store, show):
    """Train those of some jobs that are not finished yet. Raises RunError where one fails."""
    failures = dispatch.run([job for job in jobs if not store.is_finished(job.run)], show=show)
    if failures:
        raise RunError("; ".join(failures.values()))


def command(measure, description, arguments=None, repeats=("repeats", 10, "")):
    """The command of a measurement; returns the exit status.

    measure: called with dataset, data_dir, out, the number of repeats and a function that shows a line. repeats: name of
    the option for that number, its default and its help.
    """
    name, usual, text = repeats
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--dataset", default="demo", help="demo, lfw, lfw-funneled, lfw-deepfunneled or lfw-a")
    parser.add_argument("--data-dir", default="", help="folder with your copy of the pictures")
    parser.add_argument("--out", required=True, help="folder for the runs")
    parser.add_argument(f"--{name}", type=int, default=usual, help=text, metavar="N")
    parser.add_argument("--json", required=True, help="file for the result")
    options = parser.parse_args(arguments)
    count = getattr(options, name)
    if count < 2:
        parser.error(f"--{name} must be at least 2")
    said = []

    def show(text):
        if text.partition(";")[0] not in said:  # a line per finished run
            said.append(text.partition(";")[0])
            print(one_line(text), file=sys.stderr, flush=True)

    try:
        result = measure(options.dataset, options.data_dir, options.out, count, show)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    write_json(options.json, result)
    return 0
