"""A study from beginning to end: train its runs, execute its notebooks meanwhile, render its report."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.runs.dispatch import load_cluster
from lfwstudy.study.progress import Bar
from lfwstudy.study.rungs import Place, Spec
from lfwstudy.study.study import Study
from lfwstudy.system.files import locked, sweep
from lfwstudy.system.machine import cores
from lfwstudy.system.precision import precision_warning
from lfwstudy.system.text import clock

if TYPE_CHECKING:  # a machine that only trains need not have what makes pages
    from lfwstudy.report.notebooks import Execution
    from lfwstudy.report.pages import Page

_POLL_SECONDS = 0.3
_Result = TypeVar("_Result")


def run(study: Study, with_report: bool = True) -> int:
    """Train a study's missing runs, execute its notebooks and render its report; returns the exit status.

    with_report: False only trains, which needs Keras, its backend and the data readers.

    Raises
    ------
    DataError
        Before anything is written, if the images or pair files are unusable.
    RunError
        If another process works in the same folder.
    """
    started = time.monotonic()
    study.check_data(study.requested())
    with _at_work(study):
        s = study.settings
        _say(f"study: {study.title}, profile {s.profile}, {s.ladder} ladder, in {study.out}")
        if warning := precision_warning(study.precision):
            _say(f"warning: {warning}")
        study.set_aside_damaged(_say)
        before = study.filed
        study.ask(study.requested())
        if study.seeds() > s.seeds:
            _say(f"this study already has {study.seeds()} seeds; every requested stage is brought to that number")
        failures = _climb(study, before, with_report)
        return _end(study, failures, started, with_report)


def report(study: Study) -> int:
    """Execute a study's notebooks on its finished runs and render its report; returns the exit status.

    Images are optional: without them, the page that shows them stays as last executed. Raises RunError as `run` does.
    """
    from lfwstudy.report import pages

    started = time.monotonic()
    with _at_work(study):
        study.set_aside_damaged(_say)
        wanted = pages.all_pages(study)
        if study.why_no_images:
            _say(f"warning: {study.why_no_images}; pages that show them stay as they are")
            wanted = [page for page in wanted if page.notebook != "00_data.ipynb"]
        return _end(study, _render_pages(study, wanted), started, prune=False)


def _climb(study: Study, before: Mapping[Place, str], with_report: bool = True) -> list[str]:
    """Train stage by stage, and execute each stage's page once its runs are finished. Returns messages on failures.

    before: runs finished by earlier commands, by place.
    """
    own = _own_pages(study) if with_report else {}
    waiting = [(name, own[name]) for name in ["00_data.ipynb", *study.stages()] if name in own]
    with closing(_Desk(study, waiting, before)) as desk:
        while specs := study.next_runs(desk.given_up):
            desk.train(specs)
        desk.finish()
    if not with_report:
        return list(desk.given_up.values())
    from lfwstudy.report import pages

    # Tables that compare splits or selections also appear in the summaries of the other ladders.
    mine = own["02_report.ipynb"].stem
    summaries = [page for page in pages.all_pages(study) if page.notebook == "02_report.ipynb"]
    shown = [page for page in summaries if page.stem == mine or pages.notebook_path(study, page).is_file()]
    return desk.failures + _render_pages(study, shown)


def _render_pages(study: Study, wanted: Sequence["Page"]) -> list[str]:
    """Execute notebooks that train nothing, as many at once as there are cores; returns messages on failures."""
    with closing(_Desk(study, [("", page) for page in wanted])) as desk:
        desk.finish()
    return desk.failures


class _Desk:
    """Executes the pages of a study during training, in order, each once its runs are finished.

    waiting: each page with the stage whose runs it waits for; any other name waits for none. given_up: {run: message} of
    the runs that are not tried again, failed: of those that failed. failures: messages of runs and pages that failed.
    """

    def __init__(self, study: Study, waiting: Sequence[tuple[str, "Page"]], before: Mapping[Place, str] | None = None):
        self.study, self.waiting, self.before = study, list(waiting), before or {}
        self.given_up: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.failures: list[str] = []
        self.running: list[Execution] = []
        self.needed: list[Spec] | None = None  # the unfinished runs of the stage whose page is next
        self.bar: Bar | None = None
        self.due = 0.0

    def train(self, specs: Sequence[Spec]) -> None:
        """Train runs, with a bar over their epochs; say first why earlier ones are retrained."""
        earlier = [(spec, known) for spec in specs if (known := self.before.get(spec.place, spec.run)) != spec.run]
        for stage, reason in dict.fromkeys((s.stage, self.study.why_retrained(s, known)) for s, known in earlier):
            _say(f"stage {stage} is retrained: {reason}")
        self.bar = Bar(self.study, specs, _say)
        self.failed |= self.study.train(specs, self.attend)
        # None is tried twice.
        self.given_up |= {s.run: self.failed.get(s.run, "not finished") for s in self.study.missing(specs)}
        self.bar.update()
        self.bar.close()
        self.bar = None

    def attend(self, text: str = "") -> None:
        """Update the bar, finish pages that ended, start pages that can. Called repeatedly during training."""
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + _POLL_SECONDS
        if self.bar:
            self.bar.update(text)
        for ended in [execution for execution in self.running if execution.process.poll() is not None]:
            self.running.remove(ended)
            self._record(ended)
        # One at a time: training has all the cores.
        while self.waiting and len(self.running) < (1 if self.bar else cores()) and self._is_ready(self.waiting[0][0]):
            self.needed = None
            self._begin(self.waiting.pop(0)[1])

    def finish(self) -> None:
        """Execute the remaining pages."""
        while self.waiting or self.running:
            self.attend()
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End the bar, and the processes of pages if any are left."""
        if self.bar:
            self.bar.close()
        for execution in self.running:
            execution.process.terminate()
            execution.process.wait()

    def _begin(self, page: "Page") -> None:
        from lfwstudy.report import notebooks, pages

        if begun := _try(self.failures, notebooks.execute, page, pages.notebook_path(self.study, page)):
            self.running.append(begun)

    def _record(self, ended: "Execution") -> None:
        """Say how long a page took; if it failed, record that in the failures and in the page."""
        from lfwstudy.report import pages

        if failure := ended.failure():
            self.failures.append(f"{ended.page.stem}: {failure.message}")
            _try(self.failures, pages.mark_gap, self.study, ended.page, self.failures[-1])
        _say(f"{ended.page.stem}: {clock(time.monotonic() - ended.since)}")

    def _is_ready(self, name: str) -> bool:
        """Whether every run of a stage is finished or given up. Earlier stages are: pages start in order."""
        if name not in self.study.stages():
            return True
        if self.needed is None:  # climbing takes long in a large study
            rung = self.study.climb(upto=name)[-1]
            self.needed = rung.specs() if rung.stage.id == name else []
        self.needed = self.study.missing(self.needed)
        if any(spec.run not in self.given_up for spec in self.needed):
            return False
        self.failures += [f"{spec.place}: {self.study.why_unfinished(spec, self.failed)}" for spec in self.needed]
        return True


def _own_pages(study: Study) -> dict[str, "Page"]:
    """Pages of this ladder, by stage; the others by their notebook's name."""
    from lfwstudy.report import pages

    values = study.settings.combination().items()
    own = [page for page in pages.all_pages(study) if all(page.parameters[key] == value for key, value in values)]
    return {page.parameters.get("stage", page.notebook): page for page in own}


def _try(failures: list[str], call: Callable[..., _Result], *arguments: Any) -> _Result | None:
    """A call's result; if the disk or a file stops it, None and one more message in the failures."""
    try:
        return call(*arguments)
    except (OSError, StudyError) as error:
        failures.append(str(error))
        return None


def _end(study: Study, failures: list[str], started: float, with_report: bool = True, prune: bool = True) -> int:
    """Write what a study leaves, say how it ended and where that is; returns the exit status."""
    _try(failures, study.write_results)
    if prune:
        _try(failures, study.prune)
    path: Path | None = study.store.root
    if with_report:
        from lfwstudy.report import pages

        path = _try(failures, pages.render, study)
    for message in failures:
        _say(f"failed: {message}")
    _say(f"finished{' with failures' if failures else ''} in {clock(time.monotonic() - started)}")
    if path:
        print(f"{'report' if with_report else 'runs'}: {path}", flush=True)
    return 1 if failures else 0


@contextmanager
def _at_work(study: Study) -> Iterator[None]:
    """Work in a study's folder: reach the cluster, if any, keep a second study out, and delete what killed processes left."""
    with ExitStack() as stack:
        if study.settings.cluster:
            cluster = load_cluster()
            _say(cluster.describe(stack.enter_context(cluster.started(study.settings.cluster))))
            _say(f"what runs where: {study.out / cluster.VIEW}")
        try:
            stack.enter_context(locked(study.out / ".lock"))
        except BlockingIOError:
            raise RunError(
                f"{study.out}: another lfwstudy is working in this folder; wait for it or give another --out"
            ) from None
        for folder in (study.out, study.out / "notebooks", study.out / "html"):
            sweep(folder)
        yield


def _say(text: str) -> None:
    """Print a line on standard error, above the bar: only a terminal has one."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(one_line(text), file=sys.stderr)
    else:
        print(one_line(text), file=sys.stderr, flush=True)
