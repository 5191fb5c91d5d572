"""A study for other programs: tidy CSV files, and its histories as event files for TensorBoard."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfwstudy.errors import StudyError
from lfwstudy.runs.damage import SETS
from lfwstudy.study.results import RESULT_COLUMNS, Results
from lfwstudy.study.rungs import Place
from lfwstudy.study.settings import COMBINATION
from lfwstudy.system.backend import quiet_stderr
from lfwstudy.system.files import given_path, replacing_folder, write_csv, write_json

if TYPE_CHECKING:
    import pandas as pd

# Marks a folder as an export, and names its study.
MARK = "export.json"
EVENTS = "tensorboard"
_CONTENT = {MARK, EVENTS, "results.csv", "histories.csv", "predictions.csv"}


def export(study: Results, to: str | Path) -> Path:
    """Export every ladder of a study to a folder, completely or not at all.

    The folder gets the study's results.csv; histories.csv, a row for each epoch of each run, finished or not;
    predictions.csv, a row for each scored pair of each finished run; and tensorboard/, a folder for each run with a history.

    Parameters
    ----------
    to : str or Path
        A new or empty folder, or an earlier export, which is replaced.

    Raises
    ------
    StudyError
        If the study has no finished run, or `to` holds anything else.
    """
    target = given_path(to).resolve()
    _refuse_other_content(target)
    ladders, rows = study.combinations(), study.all_rows()
    if not rows:
        raise StudyError(f"{study.out}: no run is finished, there is nothing to export")
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(target) as folder:
        write_csv(folder / "results.csv", RESULT_COLUMNS, rows)
        for name, read in (("histories", Results.histories), ("predictions", _predictions)):
            table = _joined(ladders, read)
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", float_format="%.9g")
        for title, history in _by_title(ladders):
            write_events(folder / EVENTS / title, history)
        kept = {key: study.record.content[key] for key in ("dataset", "profile", "precision")}
        write_json(folder / MARK, {"study": study.out.name, **kept, "runs": len({row["run"] for row in rows})})
    return target


def write_events(folder: Path, history: Iterable[Mapping[str, float]]) -> None:
    """Write a history as an event file for TensorBoard: a scalar for each column, with the epoch as its step.

    The wall time is the seconds of training, so that TensorBoard's relative axis shows them; values that are not numbers are
    left out. Events are written as records, not by `tf.summary`, which would occupy the GPU and name this machine.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, by the import
    with quiet_stderr():
        import tensorflow as tf

    folder.mkdir(parents=True)
    seconds = 0.0
    with tf.io.TFRecordWriter(str(folder / "events.out.tfevents.0")) as file:
        file.write(tf.compat.v1.Event(file_version="brain.Event:2").SerializeToString())
        for row in history:
            known = {name: value for name, value in row.items() if name != "epoch" and not math.isnan(value)}
            seconds += known.get("seconds", 0)
            values = [tf.compat.v1.Summary.Value(tag=name, simple_value=value) for name, value in known.items()]
            summary = tf.compat.v1.Summary(value=values)
            event = tf.compat.v1.Event(step=int(row["epoch"]), wall_time=seconds, summary=summary)
            file.write(event.SerializeToString())


def _refuse_other_content(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise StudyError(f"{target}: not a folder; --to names a folder to write")
    found = {path.name for path in target.iterdir()} if target.exists() else set()
    other = found if MARK not in found else found - _CONTENT
    if other:
        raise StudyError(
            f"{target} holds {min(other)}, which is not part of an export; --to needs a new or empty folder"
        )


def _joined(ladders: Sequence[Results], read: "Callable[[Results], pd.DataFrame]") -> "pd.DataFrame":
    """The tables that `read` returns for each ladder, concatenated, with the ladder's combination in front."""
    import pandas as pd

    found = [read(ladder).assign(**ladder.combination()) for ladder in ladders]
    table = pd.concat([table.astype({"fold": "Int64"}) for table in found if len(table)], ignore_index=True)
    return table[[*COMBINATION, *table.columns.drop([*COMBINATION])]]


def _predictions(ladder: Results) -> "pd.DataFrame":
    """The scored pairs of all sets, with a column `set` before the pair's own."""
    import pandas as pd

    tables = [table for name in SETS if len(table := ladder.predictions(name).assign(set=name))]
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    first = [name for name in (*Place._fields, "run", "set") if name in found]
    return found[[*first, *found.columns.drop(first)]]


def _by_title(ladders: Sequence[Results]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The history of each run with the name of its folder, within a folder for each ladder if there are several."""
    for ladder in ladders:
        above = "-".join(name for name in ladder.combination().values() if name) if len(ladders) > 1 else ""
        for spec in ladder.specs():
            if history := ladder.store.history(spec.run) if spec.run else []:
                fold = f"-fold{spec.fold}" if spec.fold else ""
                yield f"{above}/{spec.stage}-{spec.variant}-seed{spec.seed}{fold}".lstrip("/"), history
