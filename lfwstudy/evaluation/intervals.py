"""Intervals of differences that allow for few seeds, pairs that share people, and many comparisons."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator
# Correct answers of runs, bool (seeds, pairs), and the components of the pairs, int (pairs,).
Answers = tuple[NDArray[np.bool_], ArrayLike]

LEVEL = 0.95
# Draws of the bootstrap: enough for the tail left after correcting for a ladder's comparisons.
DRAWS = 20_000


@dataclass(frozen=True)
class Difference:
    """A variant's mean accuracy minus the incumbent's on the same pairs, and its error.

    low, high: the 95 % interval of this difference by itself. p: two-sided. corrected_p: corrected for the number of
    comparisons; word: better, worse or inside the noise, from it. seed_variance, pair_variance: of the mean difference;
    seed_variance is None for one seed.
    """

    difference: float
    low: float
    high: float
    p: float
    seeds: int
    seed_variance: float | None
    pair_variance: float
    corrected_p: float = float("nan")
    word: str = ""


def compare(
    pairs_of_runs: Sequence[tuple[ArrayLike, ArrayLike]],
    components: ArrayLike,
    comparisons: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Difference]:
    """Differences of several comparisons on the same pairs, corrected for their number (Holm 1979).

    The contribution of the pairs to the error is bootstrapped by component (a cluster bootstrap of a ratio, Davison and Hinkley
    1997, section 3.8). Seeds are too few to resample (three of them have ten resamples): their part is drawn from a
    normal distribution with their standard error. The uncertainty of that error is allowed for in two ways, whose
    quantiles are averaged: scaling all draws like Student's t with Satterthwaite's (1946) degrees of freedom, which
    gives intervals too short where the seeds dominate, and scaling the seeds' part alone (the Behrens-Fisher
    distribution), which gives intervals too long where seeds and pairs weigh the same. What seeds and pairs have in
    common is counted once (two-way clustering, Cameron, Gelbach and Miller 2011).

    Parameters
    ----------
    pairs_of_runs
        (variant, incumbent), each bool (seeds, pairs), true where a pair is classified correctly.
    components
        int (pairs,), connected components of the pairs' people. They are resampled whole, because pairs that share a
        person are not independent; if there is only one, the error is unknown and nothing differs.
    comparisons
        How many to correct for if not all of a ladder's are given; the missing ones count as least significant.
    """
    _, component = np.unique(components, return_inverse=True)
    count = int(component.max()) + 1
    sizes = np.bincount(component, minlength=count).astype(float)
    weights, rng = _resamples(count, draws, seed)
    rng = deepcopy(rng)
    totals = weights @ sizes.astype(np.float32)
    found = [
        _difference(np.asarray(a, float) - np.asarray(b, float), component, sizes, weights, totals, rng)
        for a, b in pairs_of_runs
    ]
    corrected = holm([d.p for d in found], comparisons)
    return [replace(d, corrected_p=p, word=_word(d.difference, p)) for d, p in zip(found, corrected, strict=True)]


def holm(p_values: Sequence[float], comparisons: int | None = None) -> list[float]:
    """p-values corrected for their number, or for `comparisons`, by Holm's step-down method (1979)."""
    count = max(comparisons or 0, len(p_values))
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.asarray(p_values)[order] * (count - np.arange(len(order))))
    return np.minimum(corrected, 1.0).tolist()


def mean_interval(correct: NDArray[np.bool_], components: ArrayLike, draws: int = DRAWS) -> tuple[float, float]:
    """Interval of the mean accuracy of runs; `correct` is bool (seeds, pairs)."""
    found = _mean(correct, components, draws)
    return max(found.low, 0.0), min(found.high, 1.0)


def gap(first: Answers, second: Answers, draws: int = 4000) -> Difference:
    """Mean accuracy of runs on one set of pairs minus that on another, without a verdict.

    first, second: correct answers of the same runs, bool (seeds, pairs), with the components of the pairs. The pairs of
    each set are bootstrapped by component; the spread between seeds is that of the difference.
    """
    parts = [_mean(*answers, draws, seed) for seed, answers in enumerate((first, second))]
    mean, pair_variance = parts[0].difference - parts[1].difference, sum(p.pair_variance for p in parts)
    by_seed = first[0].mean(axis=1) - second[0].mean(axis=1)
    seeds = len(by_seed)
    seed_variance = float(by_seed.var(ddof=1) / seeds) if seeds > 1 else None
    total = _normal_error(pair_variance, seed_variance, seeds - 1, draws)
    half = np.quantile(np.abs(total), LEVEL)
    p = float((1 + np.sum(np.abs(total) >= abs(mean))) / (1 + len(total)))
    return Difference(float(mean), float(mean - half), float(mean + half), p, seeds, seed_variance, pair_variance)


def difference_of_gaps(one: Difference, other: Difference) -> tuple[float, float, float]:
    """One gap minus that of other runs on other pairs: (difference, low, high)."""
    a, b = one.seed_variance, other.seed_variance
    seed_variance = None if a is None or b is None else a + b
    # The seeds belong to different trainings: both spreads count.
    total = _normal_error(one.pair_variance + other.pair_variance, seed_variance, one.seeds + other.seeds - 2)
    half = np.quantile(np.abs(total), LEVEL)
    mean = one.difference - other.difference
    return mean, mean - half, mean + half


def mcnemar_exact(variant: ArrayLike, incumbent: ArrayLike) -> tuple[int, int, float]:
    """Exact two-sided McNemar test of one seed, pairs taken as independent: (only variant correct, only incumbent, p)."""
    from scipy.stats import binomtest

    variant, incumbent = np.asarray(variant, bool), np.asarray(incumbent, bool)
    gained, lost = int((variant & ~incumbent).sum()), int((~variant & incumbent).sum())
    return gained, lost, float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def seeds_needed(found: Difference, comparisons: int = 1) -> int | None:
    """How many seeds, at most 1000, a verdict would take if the difference stayed the same; None if no number is enough.

    Corrected by Bonferroni for `comparisons` comparisons, which Holm's correction never exceeds.
    """
    from scipy.stats import t

    if found.seed_variance is None:
        return None
    tail = 1 - (1 - LEVEL) / 2 / comparisons
    for seeds in range(2, 1001):
        seed_variance = found.seed_variance * found.seeds / seeds
        freedom = _degrees_of_freedom(seed_variance, seeds, found.pair_variance, 10**6)
        if t.ppf(tail, freedom) * np.sqrt(seed_variance + found.pair_variance) < abs(found.difference):
            return seeds
    return None


@lru_cache(maxsize=1)  # drawing takes ten times as long as the rest of a comparison; the array takes tens of MB
def _resamples(count: int, draws: int, seed: int) -> tuple[NDArray[np.float32], Rng]:
    """How often each of `count` components is drawn, (draws, count), and the generator afterwards."""
    rng = np.random.default_rng([seed, 40])
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float32), rng


def _difference(
    values: Floats, component: NDArray, sizes: Floats, weights: NDArray, totals: NDArray, rng: Rng
) -> Difference:
    """values: float (seeds, pairs), +1 where only the variant is correct, -1 where only the incumbent."""
    seeds, pairs = values.shape
    mean = values.mean()
    seed_variance = float(values.mean(axis=1).var(ddof=1) / seeds) if seeds > 1 else None
    if len(sizes) == 1:  # every pair depends on every other: their error is unknown, and at most 1
        return Difference(float(mean), -1.0, 1.0, 1.0, seeds, seed_variance, 1.0)
    by_component = np.stack([np.bincount(component, row, minlength=len(sizes)) for row in values])
    drawn = (weights @ by_component.mean(axis=0).astype(np.float32)) / totals - mean
    pair_variance, total = float(drawn.var()), drawn
    if seed_variance is not None:
        # Both variances contain the residual of each seed and component: subtract it once.
        rest = by_component - by_component.mean(axis=0) - np.outer(values.mean(axis=1) - mean, sizes)
        common = float((rest**2).sum() / (seeds - 1) / seeds / pairs**2)
        pair_variance = max(pair_variance - common, 0.0)
        shrink = np.sqrt(pair_variance / drawn.var()) if drawn.var() else 0.0
        freedom = _degrees_of_freedom(seed_variance, seeds, pair_variance, len(sizes))
        total = _spread_out(shrink * drawn, seed_variance, seeds - 1, freedom, rng)
    low, high = mean - np.quantile(total, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])
    # The share of draws at least as extreme, never below what the draws can resolve.
    p = (1 + np.sum(np.abs(total) >= abs(mean) - 1e-12)) / (1 + len(total))
    return Difference(float(mean), float(low), float(high), float(p), seeds, seed_variance, pair_variance)


def _mean(correct: NDArray[np.bool_], components: ArrayLike, draws: int, seed: int = 0) -> Difference:
    """The mean accuracy of runs and its error: their difference from runs that are never correct."""
    return compare([(correct, np.zeros_like(correct))], components, 1, draws, seed)[0]


def _normal_error(pair_variance: float, seed_variance: float | None, seeds_freedom: int, draws: int = DRAWS) -> Floats:
    """Draws of an error whose pairs' part is normal; `seed_variance` is None for one seed."""
    rng = np.random.default_rng([0, 41])
    drawn = np.sqrt(pair_variance) * rng.standard_normal(draws)
    if seed_variance is None:
        return drawn
    freedom = _degrees_of_freedom(seed_variance, seeds_freedom + 1, pair_variance, 10**6)
    return _spread_out(drawn, seed_variance, seeds_freedom, freedom, rng)


def _spread_out(drawn: NDArray, seed_variance: float, seeds_freedom: int, freedom: float, rng: Rng) -> Floats:
    """Sorted draws of the whole error from those of the pairs' contribution; see `compare`."""
    normal = np.sqrt(seed_variance) * rng.standard_normal(len(drawn))
    together = (drawn + normal) * np.sqrt(freedom / rng.chisquare(freedom, len(drawn)))
    apart = drawn + normal * np.sqrt(seeds_freedom / rng.chisquare(seeds_freedom, len(drawn)))
    return (np.sort(together) + np.sort(apart)) / 2


def _degrees_of_freedom(seed_variance: float, seeds: int, pair_variance: float, components: int) -> float:
    """Satterthwaite's: seeds - 1 where the seeds dominate, components - 1 where the pairs do."""
    spread = seed_variance**2 / (seeds - 1) + pair_variance**2 / max(components - 1, 1)
    return (seed_variance + pair_variance) ** 2 / spread if spread > 0 else seeds - 1


def _word(difference: float, p: float) -> str:
    if p >= 1 - LEVEL:
        return "inside the noise"
    return "better" if difference > 0 else "worse"
