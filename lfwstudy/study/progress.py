"""Progress of training: a bar on a terminal, lines in a log."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence

from lfwstudy.study.rungs import Spec
from lfwstudy.study.study import Study
from lfwstudy.system.text import sparkline

_LINE_SECONDS = 120  # between lines on the progress of runs, in a log
_BAR_COLUMNS = 45  # what the bar takes besides the runs in progress


class Bar:
    """A progress bar over the epochs of runs, read from their histories; in a log, lines now and then.

    say: prints a line.
    """

    def __init__(self, study: Study, specs: Sequence[Spec], say: Callable[[str], None]) -> None:
        self.study, self.specs, self.left, self.say = study, specs, list(specs), say
        self.bar, self.due = None, time.monotonic() + _LINE_SECONDS
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=sum(s.config.training.epochs for s in specs),
                desc=f"{len(specs)} runs",
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, at most {remaining} left{postfix}",
            )

    def update(self, text: str = "") -> None:
        """Show the current progress. text: a line on it, for a log."""
        done = [spec for spec in self.left if not self.study.missing([spec])]
        self.left = [spec for spec in self.left if spec not in done]
        if self.bar is not None:
            histories = {spec: self.study.store.history(spec.run) for spec in self.left}
            trained = sum(s.config.training.epochs for s in self.specs if s not in histories)
            self.bar.n = trained + sum(map(len, histories.values()))
            room = shutil.get_terminal_size().columns - _BAR_COLUMNS
            self.bar.set_postfix_str(in_progress(histories, room), refresh=False)
            self.bar.refresh()
            return
        for spec in done:
            self.say(f"- {spec.place}: done, {len(self.specs) - len(self.left)} of {len(self.specs)}")
        if text and time.monotonic() >= self.due:
            self.due = time.monotonic() + _LINE_SECONDS
            self.say(text)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()


def in_progress(histories: dict[Spec, list[dict[str, float]]], room: int) -> str:
    """The runs that have begun, with the latest and best validation accuracy, and its curve: as much as `room` characters hold."""
    full, plain, brief = [], [], []
    for spec, rows in ((spec, rows) for spec, rows in histories.items() if rows):
        accuracies = [row.get("val_accuracy", float("nan")) for row in rows]
        told = f"{accuracies[-1]:.3f}, best {max(accuracies):.3f}"
        plain.append(f"{spec.stage}/{spec.variant} epoch {len(rows)}, validation {told}")
        full.append(f"{plain[-1]} {sparkline(accuracies)}")
        brief.append(f"{spec.variant}: val {told}")
    for runs, count in ((full, 2), (full, 1), (plain, 1), (brief, 2), (brief, 1)):
        line = ", ".join(runs[:count]) + (f" and {len(runs) - count} more" if len(runs) > count else "")
        if len(line) <= room:
            break
    return line
