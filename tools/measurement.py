"""Measurements outside a study: separate runs, finished ones never trained again, and one JSON file of figures."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.files import check_target, write_json

Show = Callable[[str], Any]


def job(config: RunConfig, seed: int, precision: str, data_dir: str, store: Store, title: str) -> Job:
    """A training on one thread; as many run in parallel as there are cores."""
    digest = load_pairs(config.data, data_dir).digest(prepare_bank(config.data, data_dir))
    run = config.identify(seed, precision, digest)
    folder = str(Path(data_dir).absolute()) if data_dir else ""
    return Job(run, config, store.folder(run), seed, precision, folder, digest, title=title)


def finish(jobs: Iterable[Job], store: Store, show: Show) -> None:
    """Train the unfinished jobs among these. Raises RunError if one fails."""
    failures = dispatch.run([job for job in jobs if not store.is_finished(job.run)], show=show)
    if failures:
        raise RunError("; ".join(failures.values()))


def command(
    measure: Callable[[str, str, str, int, Show], dict[str, Any]],
    description: str,
    repeats: tuple[str, int, str],
    arguments: list[str] | None = None,
) -> int:
    """The command of a measurement; returns the exit status.

    Parameters
    ----------
    measure : callable
        Called with dataset, data_dir, out, the number of repeats and a function that shows a line; returns the JSON content.
    repeats : tuple
        Name of the option for the number of repeats, its default and its help.
    """
    name, usual, text = repeats
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--dataset", default="demo", help="demo, lfw, lfw-funneled, lfw-deepfunneled or lfw-a")
    parser.add_argument("--data-dir", default="", help="folder with your copy of the images")
    parser.add_argument("--out", required=True, help="folder for the runs")
    parser.add_argument(f"--{name}", type=int, default=usual, help=text, metavar="N")
    parser.add_argument("--json", required=True, help="file for the result")
    options = parser.parse_args(arguments)
    count = getattr(options, name)
    if count < 2:
        parser.error(f"--{name} must be at least 2")
    try:
        check_target(options.json)
        result = measure(options.dataset, options.data_dir, options.out, count, line_per_run())
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    write_json(options.json, result)
    return 0


def line_per_run() -> Show:
    """Shows only the first of lines with the same beginning: a line per finished run."""
    said = set()

    def show(text: str) -> None:
        if (run := text.partition(";")[0]) not in said:
            said.add(run)
            print(one_line(text), file=sys.stderr, flush=True)

    return show
