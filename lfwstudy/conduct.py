"""The study from beginning to end: notebooks in order, progress, what to keep, the report; and what it would cost."""

import os
import sys
import tempfile
import time
from contextlib import contextmanager

from . import report
from .datasets import DATASETS
from .errors import RunError, StudyError, one_line
from .executors import clock, load_cluster
from .files import locked, read_csv, sweep
from .machine import cores, precision_warning
from .model_cost import tower_cost
from .stages import get_stage, in_order, scale
from .study import CHECKED, GIVEN_UP, RENDER_ONLY

_POLL_SECONDS = 0.3


def conduct(study, train=True):
    """Run (or with `train=False` only render) a study; prints where the report is. Returns the exit status.

    Raises RunError where another process works on the same folder.
    """
    started = time.monotonic()
    # Bad data fail here, before anything is written.
    study.data(scale(study.base(), study.settings.profile, study.settings.ladder).data)
    with _cluster(study if train else None), _lock(study.out):
        for folder in (study.out, study.out / "notebooks", study.out / "html"):
            sweep(folder)
        if train:
            _say(f"study: {DATASETS[study.settings.dataset].title}, profile {study.settings.profile}, "
                 f"{study.settings.ladder} ladder, in {study.out}")
            if warning := precision_warning(study.precision):
                _say(f"warning: {warning}")
        study.set_aside_damaged(_say)
        # Every run was looked at: the notebooks need not do so again.
        with _environment(CHECKED, *() if train else (RENDER_ONLY,)):
            failures = _train(study) if train else _render_pages(study, report.all_pages(study))
        _try(failures, study.write_results)
        if train:
            _try(failures, study.prune)
        page = _try(failures, report.render, study)
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
    study.data(scale(study.base(), study.settings.profile, study.settings.ladder).data)
    with _cluster(study), _lock(study.out):
        study.set_aside_damaged(_say)
        study.ask(study.settings.stage_ids())
        rungs = study.climb(train=True, show=_now_and_then(_say))
        study.write_results()
        failures = [message for rung in rungs for message in rung.failures.values()]
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
    lines, total, runs, disk, largest = [], 0.0, 0, 0, 0
    incumbent = study.base()
    for name in stages:
        stage = get_stage(study.settings.ladder, name)
        for variant in stage.variants:
            config = scale(incumbent.change(variant.changes), study.settings.profile, study.settings.ladder)
            count = 0
            for fold in study.folds():
                folded = config.change({"data.fold": fold})
                digest = study.data(folded.data)[2]
                count += sum(not study.store.is_finished(folded.identify(seed, study.precision, digest))
                             for seed in range(study.seeds()))
            seconds = count * _operations(study, config) / rate
            parameters = tower_cost(config.model, config.data.side)[1]
            largest = max(largest, parameters)
            lines.append(f"{name:16s} {variant.id:26s} {count:4d} run{'s' if count != 1 else ' '}  at most "
                         f"{config.training.epochs:3d} epochs  at most {clock(seconds):>9s}")
            total, runs, disk = total + seconds, runs + count, disk + count * 0.5
        if name in known and known[name].complete() and known[name].after:
            incumbent = known[name].after.config
        elif stage.carry:
            # The ladder beyond expects each stage to be carried forward.
            expected = stage.report_choice if study.settings.ladder == "report" else stage.variants[0].id
            chosen = next((v for v in stage.variants if v.id == expected), None)
            if chosen:
                incumbent = incumbent.change(chosen.changes)
    best = study.seeds() * len(study.folds())
    kept = {"none": 0, "best": best, "all": runs}[study.settings.keep] * largest * 4 / 2**20
    lines.append(f"in all: {runs} runs to train, at most {clock(total)} ({source}); early stopping makes it shorter")
    lines.append(f"disk: about {disk + kept:,.0f} MiB when finished, {disk + kept + largest * 28 / 2**20:,.0f} MiB "
                 "while training")
    if warning := precision_warning(study.precision):
        lines.append(f"warning: {warning}")
    expected = "the report's own choices were" if study.settings.ladder == "report" else "each stage was"
    lines.append(f"stages after an unfinished one are reckoned as if {expected} carried forward")
    return lines


def _train(study):
    before = _known_runs(study)
    study.ask(study.settings.stage_ids())
    if study.seeds() > study.settings.seeds:
        _say(f"this study has {study.seeds()} seeds already; every stage asked for is brought to as many")
    try:
        return _climb(study, before)
    finally:
        os.environ.pop(GIVEN_UP, None)


def _climb(study, before):
    """Data first, then stage by stage, then the summary. Returns messages of what failed."""
    all_pages = {page.parameters.get("stage", page.notebook): page for page in _own_pages(study)}
    failures = _run_pages(study, [all_pages["00_data.ipynb"]])
    for name in study.stages():
        rungs = study.climb(upto=name)
        specs = [s for c in rungs[-1].candidates for s in c.specs] if rungs[-1].stage.id == name else []
        missing = study.missing(specs)
        known = before.get(name, {})
        for reason in dict.fromkeys(study.why_anew(s, known[key]) for s in missing
                                    if (key := (s.variant, s.seed, s.fold)) in known and known[key] != s.run):
            _say(f"stage {name} runs anew: {reason}")
        failed = _run_pages(study, [all_pages[name]], missing)
        rungs = study.climb(upto=name)
        lost = [s for c in rungs[-1].candidates for s in c.specs
                if rungs[-1].stage.id == name and not study.store.is_finished(s.run)]
        os.environ[GIVEN_UP] = ",".join(filter(None, [os.environ.get(GIVEN_UP, ""), *(s.run for s in lost)]))
        failures += failed + [f"{name}/{s.variant}, seed {s.seed}: {_last_words(study, s)}" for s in lost]
    # Tables that compare splits or selections stand in the summaries of the other ladders, too.
    summaries = [page for page in report.all_pages(study) if page.notebook == "02_report.ipynb"]
    mine = all_pages["02_report.ipynb"]
    return failures + _run_pages(study, [p for p in summaries if p.stem == mine.stem
                                         or report.notebook_path(study, p).is_file()])


def _try(failures, call, *arguments):
    """What a call returns; where the disk or a file stops it, None and a message more among the failures."""
    try:
        return call(*arguments)
    except (OSError, StudyError) as error:
        failures.append(str(error))


def _own_pages(study):
    values = study.settings.combination()
    return [page for page in report.all_pages(study)
            if all(page.parameters[key] == value for key, value in values.items())]


def _run_pages(study, pages, specs=()):
    """Execute notebooks one after the other with a progress bar; returns messages of those that failed."""
    failures = []
    for page in pages:
        log, process = _start(study, page, failures)
        if process is None:
            continue
        try:
            with _bar(page, specs) as bar:
                while process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    bar(study)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        _finish(study, page, log, process, failures)
    return failures


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
    return log, _try(failures, report.execute, study, page, log)


def _finish(study, page, log, process, failures):
    """Note how a page's process ended, among the failures and in the page."""
    log.seek(0)
    errors = [line for line in log.read().splitlines() if line.startswith("error: ")]
    log.close()
    if process.returncode:
        ended = f"its process ended with status {process.returncode}"
        failures.append(f"{page.stem}: {errors[-1].removeprefix('error: ') if errors else ended}")
        _try(failures, report.mark_gap, study, page, failures[-1])


@contextmanager
def _bar(page, specs):
    """A progress bar over the epochs of the runs that a page trains, read from their histories."""
    from tqdm import tqdm
    total = sum(spec.config.training.epochs for spec in specs)
    began = time.monotonic()
    terminal = sys.stderr.isatty()
    with tqdm(total=total or None, desc=page.stem, disable=not terminal, leave=False, unit="epoch",
              bar_format=("{desc}: {percentage:3.0f}%|{bar}| {elapsed}, at most {remaining} left{postfix}" if total
                          else "{desc}: {elapsed}")) as bar:
        told = set()

        def update(study):
            done, current = 0, ""
            for spec in specs:
                if spec.run in told:
                    done += spec.config.training.epochs
                    continue
                finished = study.store.is_finished(spec.run)
                if finished and spec.run not in told:
                    told.add(spec.run)
                    if not terminal:  # a log gets a line per run where a terminal has the bar
                        fold = f", fold {spec.fold}" if spec.fold else ""
                        _say(f"- {spec.variant}, seed {spec.seed}{fold}: done, {len(told)} of {len(specs)}")
                epochs = len(study.store.history(spec.run))
                done += spec.config.training.epochs if finished else epochs
                if epochs and not finished:
                    current = f", {spec.variant} epoch {epochs}"
            bar.set_postfix_str(current, refresh=False)
            bar.n = done
            bar.refresh()
        yield update
    _say(f"{page.stem}: {clock(time.monotonic() - began)}"
         + (f", {len(specs)} run{'s' if len(specs) > 1 else ''} to train" if specs else ""))


def _known_runs(study):
    """Run ids by stage, then by (variant, seed, fold), as results.csv has them for this combination."""
    path = study.out / "results.csv"
    known = {}
    try:
        for row in read_csv(path) if path.is_file() else ():
            # Under View 2 there is no split to tell ladders apart by.
            if all(row[key] == value for key, value in study.settings.combination().items()
                   if (key, study.settings.protocol) != ("split", "view2")):
                fold = int(row["fold"]) if row["fold"] else None
                known.setdefault(row["stage"], {})[row["variant"], int(row["seed"]), fold] = row["run"]
    except (ValueError, KeyError, TypeError) as error:
        _say(f"{path}: damaged ({type(error).__name__}: {error}); it is written anew")
    return known


def _last_words(study, spec):
    log = study.store.folder(spec.run) / "log.txt"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    told = [line for line in lines if line.startswith("error: ")]
    return told[-1].removeprefix("error: ") if told else f"not finished (log: {log})"


def _operations(study, config):
    """Floating-point operations of a run that uses all its epochs: a multiply-add counts two, training three times."""
    pairs = study.data(config.data)[1]
    macs = tower_cost(config.model, config.data.side)[0]
    drawn = config.training.drawn_pairs
    trained = 2 * drawn if drawn else len(pairs.train) * (1 + config.training.augmented_copies)
    pictures = 6 * trained + 2 * len(pairs.validation)
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
    from .machine import start_keras_quietly
    start_keras_quietly()
    from .bench import matrix_product_gflops
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
def _environment(*names):
    """Set environment variables to 1 for the processes started within the block."""
    os.environ |= dict.fromkeys(names, "1")
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)


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
    print(one_line(text), file=sys.stderr, flush=True)
