"""Keep a finished study as a few files that can be committed: `python -m tools.keep STUDY results/NAME`.

Copies study.json and results.csv and packs the finished runs (`lfwstudy.runs.kept`). Weights, logs, notebooks and reports,
and with them all images, stay behind. The result is a study: every command reads it, and `lfwstudy run --out results/NAME`
trains its missing runs.
"""

import argparse
import lzma
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from lfwstudy.errors import StudyError
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.kept import COLUMN, RECORDS, TABLES, kept_at, kept_texts, parted
from lfwstudy.runs.store import Store
from lfwstudy.study.results import Results
from lfwstudy.system.files import replacing, write_json


def keep_study(study: Path, target: Path, demo: bool = False) -> int:
    """Keep a study's folder in another; returns the number of runs kept.

    Raises
    ------
    StudyError
        If no run is finished, one is damaged, study.json is damaged, or the study is of drawn faces and `demo` is false.
    """
    record = study / "study.json"
    if not demo and record.is_file() and Results.open(study).settings.dataset == "demo":
        raise StudyError(f"{study}: a study of drawn faces says nothing about LFW; --demo keeps it anyway")
    count = keep_runs(study / "runs", target / "runs")
    for path in (record, study / "results.csv"):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    return count


def keep_runs(source: Path, target: Path) -> int:
    """Pack the finished runs of a folder into another and read them back; returns how many. Raises StudyError too."""
    store = Store(source)
    ids = [run for run in store.ids() if store.is_finished(run)]
    if not ids:
        raise StudyError(f"{source}: no finished run")
    if damaged := {run: problem for run in ids if (problem := problem_of(store, run))}:
        raise StudyError("; ".join(f"{store.folder(run)}: damaged ({problem})" for run, problem in damaged.items()))
    texts = {name: {run: store.text(run, name) for run in ids} for name in TABLES}
    if any(parted(_rows(texts[name])) != texts[name] for name in TABLES):
        raise StudyError(f"{source}: its tables have other columns or line breaks within fields and cannot be packed")
    target.mkdir(parents=True, exist_ok=True)
    for name, table in TABLES.items():
        with replacing(target / table) as temporary, lzma.open(temporary, "wt", encoding="utf-8", newline="") as file:
            file.writelines(_rows(texts[name]))
    write_json(target / RECORDS, {run: dict(zip(("config.json", "result.json"), store.record(run))) for run in ids})
    if any(kept_texts(target, kept_at(target), name) != texts[name] for name in TABLES):
        raise StudyError(f"{target}: what was written reads differently; is the disk full?")
    return len(ids)


def _rows(texts: dict[str, str]) -> Iterator[str]:
    """The lines of all runs' tables under the longest header, each prefixed with its run's id."""
    yield COLUMN + max((text.splitlines(keepends=True)[0] for text in texts.values()), key=len)
    for run, text in texts.items():
        yield from (f"{run},{line}" for line in text.splitlines(keepends=True)[1:])


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.keep", description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder of a study (--out)")
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder to keep it in, such as results/NAME")
    parser.add_argument("--demo", action="store_true", help="keep a study of drawn faces, too")
    options = parser.parse_args(arguments)
    try:
        count = keep_study(options.study, options.target, options.demo)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} runs: {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
