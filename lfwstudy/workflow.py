"""A study from beginning to end: train its runs, execute its notebooks meanwhile, render its report."""

import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import IO, Any, TypeVar

from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.report import notebooks, pages
from lfwstudy.report.pages import Page
from lfwstudy.runs.dispatch import load_cluster
from lfwstudy.study.progress import Bar
from lfwstudy.study.rungs import Place, Spec
from lfwstudy.study.study import Study
from lfwstudy.system.files import locked, sweep
from lfwstudy.system.machine import cores
from lfwstudy.system.precision import precision_warning
from lfwstudy.system.text import clock

_POLL_SECONDS = 0.3
_LINE_SECONDS = 30  # between lines on the progress of training, without a bar
_Result = TypeVar("_Result")


def run(study: Study) -> int:
    """Train a study's missing runs, execute its notebooks and render its report; returns the exit status.

    Raises
    ------
    DataError
        Before anything is written, if the images or pair files are unusable.
    RunError
        If another process works in the same folder.
    """
    started = time.monotonic()
    study.check_data(study.requested())
    with _cluster(study), _lock(study.out):
        _sweep(study)
        s = study.settings
        _say(f"study: {study.title}, profile {s.profile}, {s.ladder} ladder, in {study.out}")
        if warning := precision_warning(study.precision):
            _say(f"warning: {warning}")
        study.set_aside_damaged(_say)
        before = study.filed
        study.ask(study.requested())
        if study.seeds() > s.seeds:
            _say(f"this study already has {study.seeds()} seeds; every requested stage is brought to that number")
        failures = _climb(study, before)
        _try(failures, study.write_results)
        _try(failures, study.prune)
        return _end(failures, "finished", started, _try(failures, pages.render, study))


def report(study: Study) -> int:
    """Execute a study's notebooks on its finished runs and render its report; returns the exit status.

    Images are optional: without them, the page that shows them stays as last executed. Raises RunError as `run` does.
    """
    started = time.monotonic()
    with _lock(study.out):
        _sweep(study)
        study.set_aside_damaged(_say)
        wanted = pages.all_pages(study)
        if study.why_no_images:
            _say(f"warning: {study.why_no_images}; pages that show them stay as they are")
            wanted = [page for page in wanted if page.notebook != "00_data.ipynb"]
        failures = _render_pages(study, wanted)
        _try(failures, study.write_results)
        return _end(failures, "finished", started, _try(failures, pages.render, study))


def train(study: Study) -> int:
    """Train a study's missing runs, without notebooks and report: needs only Keras, its backend and the data readers.

    Returns the exit status; raises what `run` does.
    """
    started = time.monotonic()
    study.check_data(study.requested())
    with _cluster(study), _lock(study.out):
        study.set_aside_damaged(_say)
        study.ask(study.requested())
        failures = list(study.train_all(_now_and_then(_say)).values())
        _try(failures, study.write_results)
        _try(failures, study.prune)
        status = _end(failures, "trained", started)
        print(f"runs: {study.store.root}", flush=True)
        return status


def _climb(study: Study, before: Mapping[Place, str]) -> list[str]:
    """Train stage by stage, and execute each stage's page once its runs are finished. Returns messages on failures.

    before: runs finished by earlier commands, by place.
    """
    own = _own_pages(study)
    waiting = [("", own["00_data.ipynb"]), *((name, own[name]) for name in study.stages())]
    with closing(_Desk(study, waiting, before)) as desk:
        while specs := study.next_runs(desk.given_up):
            desk.expect(specs)
            desk.given_up |= study.train(specs, desk.attend)
            desk.given_up = {s.run: "not finished" for s in study.missing(specs)} | desk.given_up  # none is tried twice
            desk.clear()
        desk.finish()
    # Tables that compare splits or selections also appear in the summaries of the other ladders.
    mine = own["02_report.ipynb"].stem
    summaries = [page for page in pages.all_pages(study) if page.notebook == "02_report.ipynb"]
    return desk.failures + _render_pages(
        study, [page for page in summaries if page.stem == mine or pages.notebook_path(study, page).is_file()]
    )


def _render_pages(study: Study, wanted: Sequence[Page]) -> list[str]:
    """Execute notebooks that train nothing, as many at once as there are cores; returns messages on failures."""
    with closing(_Desk(study, [("", page) for page in wanted])) as desk:
        desk.finish()
    return desk.failures


class _Desk:
    """Executes the pages of a study during training, in order, each once its runs are finished.

    waiting: each page with the stage whose runs it waits for, empty for none. given_up: {run: message} of failed runs,
    filled by the training. failures: messages of runs and pages that failed.
    """

    def __init__(self, study: Study, waiting: Sequence[tuple[str, Page]], before: Mapping[Place, str] | None = None):
        self.study, self.waiting, self.before = study, list(waiting), before or {}
        self.given_up: dict[str, str] = {}
        self.failures: list[str] = []
        self.running: list[tuple[Page, IO[str], Popen[bytes], float]] = []
        self.needed: list[Spec] | None = None
        self.bar: Bar | None = None
        self.due = 0.0

    def expect(self, specs: Sequence[Spec]) -> None:
        """Prepare for the runs trained next: say why earlier ones are retrained, and show a bar over their epochs."""
        earlier = [(spec, known) for spec in specs if (known := self.before.get(spec.place, spec.run)) != spec.run]
        for stage, reason in dict.fromkeys((s.stage, self.study.why_retrained(s, known)) for s, known in earlier):
            _say(f"stage {stage} is retrained: {reason}")
        self.bar = Bar(self.study, specs, _say)

    def attend(self, text: str = "") -> None:
        """Update the bar, finish pages that ended, start pages that can. Called repeatedly during training."""
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + _POLL_SECONDS
        if self.bar:
            self.bar.update()
        for page, log, process, started in [job for job in self.running if job[2].poll() is not None]:
            self.running.remove((page, log, process, started))
            _finish(self.study, page, log, process, self.failures)
            _say(f"{page.stem}: {clock(time.monotonic() - started)}")
        # One at a time: training has all the cores.
        while self.waiting and len(self.running) < (1 if self.bar else cores()) and self._is_ready(self.waiting[0][0]):
            (_, page), self.needed = self.waiting.pop(0), None
            log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (`_finish` closes it)
            if begun := _try(self.failures, notebooks.execute, page, pages.notebook_path(self.study, page), log):
                self.running.append((page, log, begun, time.monotonic()))

    def clear(self) -> None:
        """Remove the bar: the expected runs are done."""
        if self.bar:
            self.bar.update()
            self.bar.close()
            self.bar = None

    def finish(self) -> None:
        """Execute the remaining pages."""
        while self.waiting or self.running:
            self.attend()
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End the bar, and the processes of pages if any are left."""
        if self.bar:
            self.bar.close()
        for _, _, process, _ in self.running:
            process.terminate()
            process.wait()

    def _is_ready(self, stage: str) -> bool:
        """Whether every run of a stage is finished or given up. Earlier stages are: pages start in order."""
        if not stage:
            return True
        if self.needed is None:
            self.needed = self.study.missing(self._runs_of(stage))
        self.needed = [s for s in self.needed if s.run not in self.given_up and self.study.missing([s])]
        if self.needed:
            return False
        lost = [spec for spec in self._runs_of(stage) if spec.run in self.given_up]
        self.failures += [f"{stage}/{s.variant}, seed {s.seed}: {self.study.why_unfinished(s)}" for s in lost]
        return True

    def _runs_of(self, stage: str) -> list[Spec]:
        rung = self.study.climb(upto=stage)[-1]
        return rung.specs() if rung.stage.id == stage else []


def _finish(study: Study, page: Page, log: IO[str], process: Any, failures: list[str]) -> None:
    """Record how a page's process ended, in the failures and in the page."""
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    log.close()
    if process.returncode or not pages.notebook_path(study, page).is_file():
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        ended = f"its process ended with status {process.returncode}: {lines[-1].strip() if lines else 'no output'}"
        failures.append(f"{page.stem}: {errors[-1] if errors else ended}")
        _try(failures, pages.mark_gap, study, page, failures[-1])


def _own_pages(study: Study) -> dict[str, Page]:
    """Pages of this ladder, by stage; the others by their notebook's name."""
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


def _end(failures: Collection[str], done: str, started: float, page: Path | None = None) -> int:
    """Say how the study ended, and where the report is; returns the exit status."""
    for message in failures:
        _say(f"failed: {message}")
    _say(f"{done}{' with failures' if failures else ''} in {clock(time.monotonic() - started)}")
    if page:
        print(f"report: {page}", flush=True)
    return 1 if failures else 0


def _now_and_then(say: Callable[[str], None], seconds: float = _LINE_SECONDS) -> Callable[[str], None]:
    """`say`, at most once every `seconds`; lines in between are dropped."""
    last = -seconds

    def sometimes(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(text)

    return sometimes


def _sweep(study: Study) -> None:
    """Remove files that killed processes left half-written."""
    for folder in (study.out, study.out / "notebooks", study.out / "html"):
        sweep(folder)


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Keep a second study out of the folder while one works in it."""
    try:
        with locked(out / ".lock"):
            yield
    except BlockingIOError:
        raise RunError(
            f"{out}: another lfwstudy is working in this folder; wait for it or give another --out"
        ) from None


@contextmanager
def _cluster(study: Study) -> Iterator[None]:
    """Reach the cluster, or start a local one for all notebooks, before anything is written; nothing without one."""
    if not study.settings.cluster:
        yield
        return
    cluster = load_cluster()
    with cluster.started(study.settings.cluster) as address:
        _say(cluster.describe(address))
        _say(f"what runs where: {study.out / cluster.VIEW}")
        yield


def _say(text: str) -> None:
    try:
        from tqdm import tqdm
    except ImportError:  # on a machine that only trains
        print(one_line(text), file=sys.stderr, flush=True)
        return
    tqdm.write(one_line(text), file=sys.stderr)  # above the bar, if there is one
    sys.stderr.flush()
