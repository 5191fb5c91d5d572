"""The study from beginning to end: notebooks in order, progress, what to keep, the report; and what it would cost."""

import csv
import sys
import tempfile
import time
from contextlib import contextmanager

from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.protocols import people_files
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.ladder import LADDERS, get_stage, in_order, scale
from lfwstudy.network.cost import matrix_product_gflops, tower_cost, training_memory
from lfwstudy.report import notebooks, pages
from lfwstudy.runs.local import load_cluster
from lfwstudy.system.files import locked, read_csv, sweep
from lfwstudy.system.machine import cores
from lfwstudy.system.precision import precision_warning
from lfwstudy.system.text import clock

_POLL_SECONDS = 0.3


def conduct(study, train=True):
    """Run (or with `train=False` only render) a study; prints where the report is. Returns the exit status.

    Raises RunError where another process works on the same folder.
    """
    started = time.monotonic()
    # Bad data fail here, before anything is written.
    study.data(scale(study.first(), study.settings.profile, study.settings.ladder).data)
    if train:
        _check_people_files(study)
    with _cluster(study if train else None), _lock(study.out):
        for folder in (study.out, study.out / "notebooks", study.out / "html"):
            sweep(folder)
        if train:
            _say(
                f"study: {DATASETS[study.settings.dataset].title}, profile {study.settings.profile}, "
                f"{study.settings.ladder} ladder, in {study.out}"
            )
            if warning := precision_warning(study.precision):
                _say(f"warning: {warning}")
        study.set_aside_damaged(_say)
        failures = _train(study) if train else _render_pages(study, pages.all_pages(study))
        _try(failures, study.write_results)
        if train:
            _try(failures, study.prune)
        page = _try(failures, pages.render, study)
        for message in failures:
            _say(f"failed: {message}")
        _say(f"{'finished' if not failures else 'finished with gaps'} in {clock(time.monotonic() - started)}")
        if page:
            print(f"report: {page}", flush=True)
        return 1 if failures else 0


def train_only(study):
    """Train what a study's ladder lacks, with no notebook and no report: all that it needs is Keras, its backend and what
    reads the data. Prints where the runs are; returns the exit status. Raises RunError as `conduct` does."""
    started = time.monotonic()
    study.data(scale(study.first(), study.settings.profile, study.settings.ladder).data)
    _check_people_files(study)
    with _cluster(study), _lock(study.out):
        study.set_aside_damaged(_say)
        study.ask(study.settings.stage_ids())
        failures = list(study.train_all(_now_and_then(_say)).values())
        _try(failures, study.write_results)
        _try(failures, study.prune)
        for message in failures:
            _say(f"failed: {message}")
        _say(f"{'trained' if not failures else 'trained with gaps'} in {clock(time.monotonic() - started)}")
        print(f"runs: {study.store.root}", flush=True)
        return 1 if failures else 0


def dry_run(study):
    """Lines that say which runs a command would train, how long at most, and how much disk they need."""
    stages = in_order(study.settings.ladder, {*study.stages(), *study.settings.stage_ids()})
    rate, source = _rate(study)
    known = {rung.stage.id: rung for rung in study.climb()}
    lines, total, disk, largest = [], 0.0, 0, 0
    incumbent, planned = study.base(), set()  # variants may share a run
    for name in stages:
        stage = get_stage(study.settings.ladder, name)
        for variant in stage.variants:
            config = scale(incumbent.change(variant.changes), study.settings.profile, study.settings.ladder)
            wanted = set()
            for fold in study.folds():
                folded = config.change({"data.fold": fold})
                digest = study.data(folded.data)[2]
                wanted |= {folded.identify(seed, study.precision, digest) for seed in range(study.seeds_of(stage))}
            missing = {run for run in wanted - planned if not study.store.is_finished(run)}
            planned |= missing
            count = len(missing)
            seconds = count * _operations(study, config) / rate
            parameters = tower_cost(config.model, config.data.side)[1]
            largest = max(largest, parameters)
            memory = training_memory(config.model, config.data.side, config.training.batch_size)
            lines.append(
                f"{name:16s} {variant.id:26s} {count:4d} run{'s' if count != 1 else ' '}  at most "
                f"{config.training.epochs:3d} epochs  at most {clock(seconds):>9s}  at most "
                f"{memory / 2**30:4.1f} GiB of memory"
            )
            total, disk = total + seconds, disk + count * 0.5
        if name in known and known[name].complete() and known[name].after:
            incumbent = known[name].after.config
        elif stage.carry:
            # The ladder beyond expects each stage to be carried forward.
            expected = stage.report_choice if LADDERS[study.settings.ladder].has_path() else stage.variants[0].id
            chosen = next((v for v in stage.variants if v.id == expected), None)
            if chosen:
                incumbent = incumbent.change(chosen.changes)
    best = max(study.seeds_of(get_stage(study.settings.ladder, name)) for name in stages) * len(study.folds())
    kept = {"none": 0, "best": best, "all": len(planned)}[study.settings.keep] * largest * 4 / 2**20
    lines.append(
        f"in all: {len(planned)} runs to train, at most {clock(total)} ({source}); early stopping makes it shorter"
    )
    lines.append(
        f"disk: about {disk + kept:,.0f} MiB when finished, {disk + kept + largest * 28 / 2**20:,.0f} MiB "
        "while training"
    )
    if warning := precision_warning(study.precision):
        lines.append(f"warning: {warning}")
    expected = "the report's own choices were" if LADDERS[study.settings.ladder].has_path() else "each stage was"
    lines.append(f"stages after an unfinished one are reckoned as if {expected} carried forward")
    return lines


def _check_people_files(study):
    """Raise DataError where a stage that is asked for needs a people file that is missing: at once, not after hours."""
    for stage in study.settings.stage_ids():
        for variant in get_stage(study.settings.ladder, stage).variants:
            for name in people_files(study.base().change(variant.changes).data):
                pair_file(name, study.settings.dataset, study.settings.data_dir)


def _train(study):
    before = _known_runs(study)
    study.ask(study.settings.stage_ids())
    if study.seeds() > study.settings.seeds:
        _say(f"this study has {study.seeds()} seeds already; every stage asked for is brought to as many")
    return _climb(study, before)


def _climb(study, before):
    """Train stage by stage, and execute the page of each as soon as its runs are there. Returns messages of what failed."""
    desk = _Desk(study, before)
    try:
        while specs := study.next_runs(desk.given_up):
            desk.expect(specs)
            desk.given_up |= study.train(specs, desk.attend)
            desk.given_up = {s.run: "not finished" for s in study.missing(specs)} | desk.given_up  # none is tried twice
            desk.clear()
        desk.finish()
    except BaseException:
        desk.stop()
        raise
    # Tables that compare splits or selections stand in the summaries of the other ladders, too.
    mine = _own_pages(study)["02_report.ipynb"]
    summaries = [page for page in pages.all_pages(study) if page.notebook == "02_report.ipynb"]
    return desk.failures + _render_pages(
        study, [p for p in summaries if p.stem == mine.stem or pages.notebook_path(study, p).is_file()]
    )


class _Desk:
    """Executes the pages of a study beside its training, in order, each once nothing is missing that it shows.

    before: known runs, as `_known_runs` has them. given_up: {run: message} of the runs that failed, filled by whoever
    trains.
    """

    def __init__(self, study, before):
        self.study, self.before = study, before
        self.given_up, self.failures = {}, []
        pages = _own_pages(study)
        self.waiting = [("", pages["00_data.ipynb"]), *((name, pages[name]) for name in study.stages())]
        self.running, self.needed, self.bar, self.due = [], None, None, 0.0

    def expect(self, specs):
        """These runs are trained next: say why runs known before are trained anew, and show a bar over their epochs."""
        for stage, reason in dict.fromkeys(
            (s.stage, self.study.why_anew(s, known))
            for s in specs
            if (known := self.before.get(s.stage, {}).get((s.variant, s.seed, s.fold), s.run)) != s.run
        ):
            _say(f"stage {stage} runs anew: {reason}")
        self.bar = _Bar(self.study, specs)

    def attend(self, text=None):
        """What is due now: bar, pages that ended, pages that can start. Called again and again while training goes on."""
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + _POLL_SECONDS
        if self.bar:
            self.bar.update()
        for job in [job for job in self.running if job[2].poll() is not None]:
            self.running.remove(job)
            _finish(self.study, *job[:3], self.failures)
            _say(f"{job[0].stem}: {clock(time.monotonic() - job[3])}")
        # Beside training, which has all the cores, one at a time.
        while self.waiting and len(self.running) < (1 if self.bar else cores()) and self._is_ready(self.waiting[0][0]):
            (_, page), self.needed = self.waiting.pop(0), None
            log, process = _start(self.study, page, self.failures)
            if process is not None:
                self.running.append((page, log, process, time.monotonic()))

    def clear(self):
        """What was expected is done: the bar goes."""
        if self.bar:
            self.bar.update()
            self.bar.close()
            self.bar = None

    def finish(self):
        """Execute the pages that are left."""
        while self.waiting or self.running:
            self.attend()
            time.sleep(_POLL_SECONDS)

    def stop(self):
        """End the processes of pages, and the bar."""
        if self.bar:
            self.bar.close()
        for _, _, process, _ in self.running:
            process.terminate()
            process.wait()

    def _is_ready(self, stage):
        """Whether every run of a stage is finished or given up. Stages before it are: pages start in order."""
        if not stage:
            return True
        if self.needed is None:
            rung = self.study.climb(upto=stage)[-1]
            own = [s for c in rung.candidates for s in c.specs] if rung.stage.id == stage else []
            self.needed = self.study.missing(own)
        self.needed = [s for s in self.needed if s.run not in self.given_up and self.study.missing([s])]
        if self.needed:
            return False
        rung = self.study.climb(upto=stage)[-1]
        lost = [s for c in rung.candidates for s in c.specs if s.run in self.given_up] if rung.stage.id == stage else []
        self.failures += [f"{stage}/{s.variant}, seed {s.seed}: {self.study.why_unfinished(s)}" for s in lost]
        return True


def _try(failures, call, *arguments):
    """What a call returns; where the disk or a file stops it, None and a message more among the failures."""
    try:
        return call(*arguments)
    except (OSError, StudyError) as error:
        failures.append(str(error))


def _own_pages(study):
    """Pages of this combination's ladder, by stage; the others by their notebook's name."""
    values = study.settings.combination()
    return {
        page.parameters.get("stage", page.notebook): page
        for page in pages.all_pages(study)
        if all(page.parameters[key] == value for key, value in values.items())
    }


def _render_pages(study, pages):
    """Execute notebooks that only show what there is, as many at once as there are cores; returns messages of failures."""
    failures, waiting, running = [], list(pages), []
    try:
        while waiting or running:
            while waiting and len(running) < cores():
                page = waiting.pop(0)
                log, process = _start(study, page, failures)
                if process is not None:
                    running.append((page, log, process, time.monotonic()))
            time.sleep(_POLL_SECONDS)
            for job in [job for job in running if job[2].poll() is not None]:
                running.remove(job)
                _finish(study, *job[:3], failures)
                _say(f"{job[0].stem}: {clock(time.monotonic() - job[3])}")
    except BaseException:
        for _, _, process, _ in running:
            process.terminate()
            process.wait()
        raise
    return failures


def _start(study, page, failures):
    """Start executing a page: its log and process, the latter None where the disk or the notebook stops it."""
    log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
    return log, _try(failures, notebooks.execute, page, pages.notebook_path(study, page), log)


def _finish(study, page, log, process, failures):
    """Note how a page's process ended, among the failures and in the page."""
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    log.close()
    if process.returncode or not pages.notebook_path(study, page).is_file():
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        ended = f"its process ended with status {process.returncode}: {lines[-1].strip() if lines else 'no output'}"
        failures.append(f"{page.stem}: {errors[-1] if errors else ended}")
        _try(failures, pages.mark_gap, study, page, failures[-1])


class _Bar:
    """A progress bar over the epochs of runs, read from their histories; in a log, a line for each run that is done."""

    def __init__(self, study, specs):
        from tqdm import tqdm

        self.study, self.specs, self.left = study, specs, list(specs)
        self.is_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=sum(s.config.training.epochs for s in specs),
            desc=f"{len(specs)} runs",
            leave=False,
            disable=not self.is_terminal,
            unit="epoch",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, at most {remaining} left{postfix}",
        )

    def update(self):
        """Show how far the runs are."""
        for spec in [spec for spec in self.left if not self.study.missing([spec])]:
            self.left.remove(spec)
            if not self.is_terminal:
                fold = f", fold {spec.fold}" if spec.fold else ""
                _say(
                    f"- {spec.stage}/{spec.variant}, seed {spec.seed}{fold}: done, "
                    f"{len(self.specs) - len(self.left)} of {len(self.specs)}"
                )
        if self.is_terminal:
            epochs = {spec: len(self.study.store.history(spec.run)) for spec in self.left}
            current = [f"{spec.stage}/{spec.variant} epoch {count}" for spec, count in epochs.items() if count]
            done = self.bar.total - sum(spec.config.training.epochs for spec in self.left)
            more = f" and {len(current) - 2} more" if len(current) > 2 else ""
            self.bar.set_postfix_str(", ".join(current[:2]) + more, refresh=False)
            self.bar.n = done + sum(epochs.values())
            self.bar.refresh()

    def close(self):
        """Remove the bar."""
        self.bar.close()


def _known_runs(study):
    """Run ids by stage, then by (variant, seed, fold), as results.csv has them for this combination."""
    path = study.out / "results.csv"
    known = {}
    try:
        for row in read_csv(path) if path.is_file() else ():
            # Under View 2 there is no split to tell ladders apart by.
            if all(
                row[key] == value
                for key, value in study.settings.combination().items()
                if (key, study.settings.protocol) != ("split", "view2")
            ):
                fold = int(row["fold"]) if row["fold"] else None
                known.setdefault(row["stage"], {})[row["variant"], int(row["seed"]), fold] = row["run"]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        _say(f"{path}: damaged ({type(error).__name__}: {error}); it is written anew")
    return known


def _operations(study, config):
    """Floating-point operations of a run that uses all its epochs: a multiply-add counts two, training three times."""
    pairs = study.data(config.data)[1]
    macs = tower_cost(config.model, config.data.side)[0]
    drawn = (config.training.drawn_people or 0) * config.training.pairs_per_person
    trained = drawn or len(pairs.train) * (1 + config.training.augmented_copies)
    pictures = 6 * trained + 2 * len(pairs.validation) * (1 + config.model.flip_average)
    return 2 * macs * pictures * config.training.epochs


def _rate(study):
    """Operations per second to reckon with, and where the figure is from."""
    done = operations = 0.0
    for rung in study.climb():
        for candidate in rung.candidates:
            for spec in candidate.specs:
                if study.store.is_finished(spec.run):
                    result = study.store.result(spec.run)
                    done += result["seconds_total"]
                    operations += _operations(study, spec.config) * result["epochs_run"] / result["epochs_max"]
    if done:
        return operations / done, f"at {operations / done / 1e9:,.0f} GFLOP/s, as the runs finished here"
    from lfwstudy.system.backend import start_keras_quietly

    start_keras_quietly()
    # Narrow networks spend more of a step outside the products.
    rate = matrix_product_gflops(study.precision) * 1e9 * (0.85 if study.base().model.width >= 0.5 else 0.25)
    return rate, f"at {rate / 1e9:,.0f} GFLOP/s, guessed from a matrix product on this machine"


def _now_and_then(say, seconds=30):
    """`say`, at most once in so many seconds; what is said in between is passed over."""
    last = -seconds

    def sometimes(text):
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(text)

    return sometimes


@contextmanager
def _lock(out):
    """Keep a second study out of the folder while one works in it."""
    try:
        with locked(out / ".lock"):
            yield
    except BlockingIOError:
        raise RunError(f"{out}: another lfwstudy works in this folder; wait for it or give another --out") from None


@contextmanager
def _cluster(study):
    """Reach the cluster, or start a local one for all notebooks, before anything is written; nothing without one."""
    if study is None or not study.settings.cluster:
        yield
        return
    cluster = load_cluster()
    with cluster.started(study.settings.cluster) as address:
        _say(cluster.describe(address))
        _say(f"what runs where: {study.out / cluster.VIEW}")
        yield


def _say(text):
    try:
        from tqdm import tqdm
    except ImportError:  # on a machine that only trains
        print(one_line(text), file=sys.stderr, flush=True)
        return
    tqdm.write(one_line(text), file=sys.stderr)  # above the bar, where there is one
    sys.stderr.flush()
