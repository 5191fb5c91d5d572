"""Estimate the runs that a command would train: their time, disk and memory."""

from collections.abc import Iterator, Sequence

from lfwstudy.config import RunConfig
from lfwstudy.ladder import PROFILES
from lfwstudy.network.cost import matrix_product_gflops, tower_cost, training_memory
from lfwstudy.study.rungs import Candidate
from lfwstudy.study.study import Study
from lfwstudy.system.machine import cores
from lfwstudy.system.precision import precision_warning
from lfwstudy.system.text import clock

_MIB = 2**20
_RUN_BYTES, _EPOCH_BYTES, _PAIR_BYTES = 6000, 130, 72  # a finished run's files, without weights
_PAGE_MIB = 1.5  # a page as notebook, as HTML and in the report
_WEIGHT_BYTES = 4  # of a parameter in the kept network
_TRAINING_BYTES = 28  # of a parameter while it is trained: checkpoints and resume state
# Two cores: a forked process, and a new one that builds a full network; a page's kernel, imports and figures.
_FORK_SECONDS, _START_SECONDS, _PAGE_SECONDS = 3, 15, 15


def estimate(study: Study, with_report: bool = True) -> list[str]:
    """Lines for a terminal on the runs that a command would train, their time and their disk space."""
    rate, source = _rate(study)
    plan = list(_plan(study))
    seconds = [runs * operations(study, c.specs[0].config) / rate for c, runs in plan]
    count, threads = sum(runs for _, runs in plan), PROFILES[study.settings.profile].threads
    pages = len({c.stage for c, _ in plan}) + 2 if with_report else 0
    starts = count * (_FORK_SECONDS if threads == 1 else _START_SECONDS)
    finished = sum(runs * finished_bytes(study, c.specs[0].config) for c, runs in plan) + pages * _PAGE_MIB * _MIB
    largest = max(tower_cost(c.config.model, c.config.data.side)[1] for c, _ in plan)
    at_once, seeds = min(cores() if threads == 1 else 1, count), max(len(c.specs) for c, _ in plan)
    finished += {"none": 0, "best": seeds, "all": count}[study.settings.keep] * largest * _WEIGHT_BYTES
    report = f"{clock(pages * _PAGE_SECONDS)} for the report" if with_report else ""
    carried = "the report's choices" if study.ladder.has_path() else "their first variants"
    time = [
        f"time: about {clock(sum(seconds))} for {count} run{'s' * (count != 1)} to train, less with early stopping,",
        f"      about {clock(starts)} to start them{f' and {report}' if report else ''}",
        f"      ({source})",
    ]
    return [
        *_table(plan, seconds),
        "",
        *(time if count else [f"time: nothing to train{f', about {report}' if report else ''}"]),
        f"disk: about {finished / _MIB:,.0f} MiB when finished, "
        f"{(finished + at_once * largest * _TRAINING_BYTES) / _MIB:,.0f} MiB while training",
        *([f"warning: {warning}"] if (warning := precision_warning(study.precision)) else []),
        *([f"Unfinished stages are assumed to carry {carried} forward."] if count else []),
    ]


def operations(study: Study, config: RunConfig) -> float:
    """Floating-point operations of a run over all its epochs: a multiply-add counts two, training three times that."""
    pairs, training = study.data(config.data)[1], config.training
    drawn = (training.drawn_people or 0) * training.pairs_per_person
    trained = drawn or len(pairs.train) * (1 + training.augmented_copies)
    images = 6 * trained + 2 * len(pairs.validation) * (1 + config.model.flip_average)
    return 2 * tower_cost(config.model, config.data.side)[0] * images * training.epochs


def _plan(study: Study) -> Iterator[tuple[Candidate, int]]:
    """The variants in the ladder's order, with their runs still to be trained; one shared by two counts for the first."""
    climbed = {rung.stage.id: rung for rung in study.climb()}
    start, planned = study.base(), set[str]()
    for name in study.ladder.in_order({*study.stages(), *study.requested()}):
        stage = study.ladder.stage(name)
        for candidate in study.candidates(stage, start):
            missing = {spec.run for spec in candidate.specs if not study.store.is_finished(spec.run)} - planned
            planned |= missing
            yield candidate, len(missing)
        if name in climbed and climbed[name].complete() and (after := climbed[name].after):
            start = after.config
        elif stage.carry:
            # Assumed: the report's choice or, in a ladder without one, the first.
            expected = stage.report_choice if study.ladder.has_path() else stage.variants[0].id
            start = next((start.change(v.changes) for v in stage.variants if v.id == expected), start)


def _table(plan: Sequence[tuple[Candidate, int]], seconds: Sequence[float]) -> Iterator[str]:
    """A row for each variant."""
    stages, variants = (max(map(len, names)) for names in zip(*(c.key for c, _ in plan)))
    yield f"{'stage':{stages}}  {'variant':{variants}}  runs  epochs       time    memory"
    for (c, runs), of_all in zip(plan, seconds):
        config = c.specs[0].config
        memory = training_memory(config.model, config.data.side, config.training.batch_size) / 2**30
        epochs, time = config.training.epochs, clock(of_all)
        yield f"{c.stage:{stages}}  {c.variant:{variants}}  {runs:4d}  {epochs:6d}  {time:>9s}  {memory:4.1f} GiB"
    yield "Epochs and memory are upper bounds, times estimates."
    if any(not runs for _, runs in plan):
        yield "0 runs: finished, or the same as those of a variant above."


def finished_bytes(study: Study, config: RunConfig) -> int:
    """Bytes of a finished run's files, without weights."""
    pairs = sum(map(len, study.data(config.data)[1].sets().values()))
    return _RUN_BYTES + config.training.epochs * _EPOCH_BYTES + pairs * _PAIR_BYTES


def _rate(study: Study) -> tuple[float, str]:
    """Expected operations per second, and the source of the figure."""
    specs = [spec for spec in study.specs() if study.store.is_finished(spec.run)]
    results = [study.store.result(spec.run) for spec in specs]
    if seconds := sum(result["seconds_total"] for result in results):
        shares = [result["epochs_run"] / result["epochs_max"] for result in results]
        rate = sum(operations(study, spec.config) * share for spec, share in zip(specs, shares)) / seconds
        return rate, f"at {rate / 1e9:,.0f} GFLOP/s, as in the runs finished here"
    from lfwstudy.system.backend import start_keras_quietly

    start_keras_quietly()
    # Narrow networks spend a larger share of a step outside matrix products.
    rate = matrix_product_gflops(study.precision) * 1e9 * (0.85 if study.base().model.width >= 0.5 else 0.25)
    return rate, f"at {rate / 1e9:,.0f} GFLOP/s, estimated from a matrix product on this machine"
