"""Estimate the runs that a command would train, with their maximum time, disk and memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from lfwstudy.config import RunConfig
from lfwstudy.ladder.stage import Stage
from lfwstudy.network.cost import matrix_product_gflops, tower_cost, training_memory
from lfwstudy.study.study import Study
from lfwstudy.system.precision import precision_warning
from lfwstudy.system.text import clock

_MIB = 2**20
_RUN_MIB = 0.5  # a finished run's files, without weights
_WEIGHT_BYTES = 4  # of a parameter in the kept network
_TRAINING_BYTES = 28  # of a parameter while it is trained: checkpoints and resume state


@dataclass(frozen=True)
class Planned:
    """A variant's runs still to be trained; `config` is scaled, `parameters` counts the network's."""

    stage: str
    variant: str
    config: RunConfig
    runs: int
    parameters: int


def estimate(study: Study) -> list[str]:
    """Lines on the runs that a command would train, their maximum time and their disk space."""
    rate, source = _rate(study)
    plan = list(_plan(study))
    seconds = [p.runs * operations(study, p.config) / rate for p in plan]
    count, largest = sum(p.runs for p in plan), max(p.parameters for p in plan)
    disk = (count * _RUN_MIB) + _kept_networks(study, plan, count) * largest * _WEIGHT_BYTES / _MIB
    chosen = "the report's own choices were" if study.ladder.has_path() else "each stage was"
    return [
        *map(_line, plan, seconds),
        f"in all: {count} runs to train, at most {clock(sum(seconds))} ({source}); early stopping shortens it",
        f"disk: about {disk:,.0f} MiB when finished, {disk + largest * _TRAINING_BYTES / _MIB:,.0f} MiB while training",
        *([f"warning: {warning}"] if (warning := precision_warning(study.precision)) else []),
        f"stages after an unfinished one are estimated assuming {chosen} carried forward",
    ]


def operations(study: Study, config: RunConfig) -> float:
    """Floating-point operations of a run over all its epochs: a multiply-add counts two, training three times that."""
    pairs, training = study.data(config.data)[1], config.training
    drawn = (training.drawn_people or 0) * training.pairs_per_person
    trained = drawn or len(pairs.train) * (1 + training.augmented_copies)
    images = 6 * trained + 2 * len(pairs.validation) * (1 + config.model.flip_average)
    return 2 * tower_cost(config.model, config.data.side)[0] * images * training.epochs


def _plan(study: Study) -> Iterator[Planned]:
    """The variants in the ladder's order; a run shared by two counts for the first."""
    climbed = {rung.stage.id: rung for rung in study.climb()}
    start, planned = study.base(), set[str]()
    for name in study.ladder.in_order({*study.stages(), *study.requested()}):
        stage = study.ladder.stage(name)
        for candidate in study.candidates(stage, start):
            missing = {spec.run for spec in candidate.specs if not study.store.is_finished(spec.run)} - planned
            planned |= missing
            config = candidate.specs[0].config
            yield Planned(name, candidate.variant, config, len(missing), tower_cost(config.model, config.data.side)[1])
        if name in climbed and climbed[name].complete() and (after := climbed[name].after):
            start = after.config
        elif stage.carry:
            start = _assumed(study, stage, start)


def _assumed(study: Study, stage: Stage, start: RunConfig) -> RunConfig:
    """The variant assumed to be carried forward: the report's choice or, in a ladder without one, the first."""
    expected = stage.report_choice if study.ladder.has_path() else stage.variants[0].id
    return next((start.change(v.changes) for v in stage.variants if v.id == expected), start)


def _line(planned: Planned, seconds: float) -> str:
    config, count = planned.config, planned.runs
    memory = training_memory(config.model, config.data.side, config.training.batch_size) / 2**30
    return (
        f"{planned.stage:16s} {planned.variant:26s} {count:4d} run{'s' if count != 1 else ' '}  at most "
        f"{config.training.epochs:3d} epochs  at most {clock(seconds):>9s}  at most {memory:4.1f} GiB of memory"
    )


def _kept_networks(study: Study, plan: list[Planned], count: int) -> int:
    """Number of networks that `--keep` leaves."""
    seeds = max(study.seeds_of(study.ladder.stage(p.stage)) for p in plan)
    return {"none": 0, "best": seeds * len(study.folds()), "all": count}[study.settings.keep]


def _rate(study: Study) -> tuple[float, str]:
    """Expected operations per second, and the source of the figure."""
    specs = [spec for rung in study.climb() for spec in rung.specs() if study.store.is_finished(spec.run)]
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
