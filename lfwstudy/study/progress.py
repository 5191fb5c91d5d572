"""Progress of training: a bar on a terminal, lines in a log."""

import sys
from collections.abc import Callable, Sequence

from lfwstudy.study.rungs import Spec
from lfwstudy.study.study import Study


class Bar:
    """A progress bar over the epochs of runs, read from their histories; in a log, a line for each finished run.

    say: prints a line.
    """

    def __init__(self, study: Study, specs: Sequence[Spec], say: Callable[[str], None]) -> None:
        from tqdm import tqdm

        self.study, self.specs, self.left, self.say = study, specs, list(specs), say
        self.is_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=sum(s.config.training.epochs for s in specs),
            desc=f"{len(specs)} runs",
            leave=False,
            disable=not self.is_terminal,
            unit="epoch",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, at most {remaining} left{postfix}",
        )

    def update(self) -> None:
        """Show the current progress."""
        for spec in [spec for spec in self.left if not self.study.missing([spec])]:
            self.left.remove(spec)
            if not self.is_terminal:
                self.say(f"- {spec.place}: done, {len(self.specs) - len(self.left)} of {len(self.specs)}")
        if self.is_terminal:
            epochs = {spec: len(self.study.store.history(spec.run)) for spec in self.left}
            current = [f"{spec.stage}/{spec.variant} epoch {count}" for spec, count in epochs.items() if count]
            done = self.bar.total - sum(spec.config.training.epochs for spec in self.left)
            more = f" and {len(current) - 2} more" if len(current) > 2 else ""
            self.bar.set_postfix_str(", ".join(current[:2]) + more, refresh=False)
            self.bar.n = done + sum(epochs.values())
            self.bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
