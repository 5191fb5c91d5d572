import numpy as np
import pytest

from lfwstudy.evaluation.intervals import Difference, compare, gap, holm, mcnemar_exact, mean_interval, seeds_needed
from lfwstudy.ladder import CLAIMS, FIGURES, LADDERS
from lfwstudy.ladder.claims import verdict
from lfwstudy.ladder.published_figures import inconsistencies, replicates


def simulate(rng, seeds, components=300, size=2, gain=0.0, seed_spread=0.02):
    """Two variants' right answers (seeds, pairs) with people shared within components; and the components."""
    pairs = components * size
    component = np.repeat(np.arange(components), size)

    def variant(mean):
        ability = mean + seed_spread * rng.standard_normal((seeds, 1))
        # What a pair and its people add is fixed for a variant: all its seeds find the same pairs hard.
        hard = 0.15 * rng.standard_normal(components)[component] + 0.1 * rng.standard_normal(pairs)
        return rng.random((seeds, pairs)) < np.clip(ability + hard, 0, 1)

    return variant(0.7 + gain), variant(0.7), component


def coverage(seeds, repeats, **settings):
    rng = np.random.default_rng(seeds)
    hits = 0
    for repeat in range(repeats):
        a, b, component = simulate(rng, seeds, gain=0.03, **settings)
        found = compare([(a, b)], component, draws=1000, seed=repeat)[0]
        hits += found.low <= 0.03 <= found.high
    return hits / repeats


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds):
    # 300 repeats: a true coverage of .95 gives a share between .92 and .98 in 98 of 100 such tests.
    assert 0.92 <= coverage(seeds, 300) <= 0.98


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("seed_spread", [0.005, 0.02, 0.05])
def test_coverage_over_many_repeats(seeds, seed_spread):
    assert 0.93 <= coverage(seeds, 2500, seed_spread=seed_spread) <= 0.97


def ladder_false_alarms(seeds, ladders, comparisons=14):
    rng = np.random.default_rng(100 + seeds)
    alarms = 0
    for repeat in range(ladders):
        given = []
        for _ in range(comparisons):
            a, b, component = simulate(rng, seeds, components=150)
            given.append((a, b))
        alarms += any(d.word != "inside the noise" for d in compare(given, component, draws=4000, seed=repeat))
    return alarms / ladders


@pytest.mark.long
def test_a_ladder_without_differences_raises_few_false_alarms():
    # 60 ladders: at a rate of .05, more than 7 alarms come up in 1 of 100 such tests.
    assert ladder_false_alarms(5, 60) <= 7 / 60


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_false_alarms_over_many_ladders(seeds):
    assert ladder_false_alarms(seeds, 600) <= 0.06


def test_pairs_that_share_people_widen_the_interval(rng):
    a, b, component = simulate(rng, 1, components=60, size=10)
    alone = compare([(a, b)], np.arange(a.shape[1]), draws=4000)[0]
    together = compare([(a, b)], component, draws=4000)[0]
    assert together.high - together.low > 1.15 * (alone.high - alone.low)


@pytest.mark.parametrize("seeds", [1, 3])
def test_nothing_differs_where_every_pair_depends_on_every_other(rng, seeds):
    better, worse = rng.random((seeds, 200)) < 0.9, rng.random((seeds, 200)) < 0.5
    found = compare([(better, worse)], np.zeros(200))[0]
    assert found.word == "inside the noise" and (found.low, found.high) == (-1, 1) and seeds_needed(found) is None
    assert mean_interval(better, np.zeros(200)) == (0, 1)


def test_one_seed_without_shared_people_is_walds_interval_of_paired_proportions():
    # Agresti (2002), table 10.1: 794 approve twice, 150 and 86 change, 570 disapprove twice: -0.04 (-0.06, -0.02).
    both = [(1, 1)] * 794 + [(0, 1)] * 150 + [(1, 0)] * 86 + [(0, 0)] * 570
    a, b = (np.array([[row[i] for row in both]], bool) for i in (0, 1))
    found = compare([(a, b)], np.arange(1600))[0]
    assert found.difference == pytest.approx(-0.04)
    assert (found.low, found.high) == pytest.approx((-0.0587, -0.0213), abs=0.0015)
    assert found.word == "worse" and found.seed_variance is None


def test_without_error_of_the_pairs_it_is_students_interval():
    # Student (1908), additional hours of sleep of ten patients: mean 1.58, 95 % interval 0.70 to 2.46 (t, 9 degrees).
    hours = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])[:, None]
    found = compare([(np.repeat(hours, 40, axis=1), np.zeros((10, 40)))], np.arange(40), draws=200_000)[0]
    assert (found.difference, found.low, found.high) == pytest.approx((1.58, 0.70, 2.46), abs=0.02)


def test_mcnemar_counts_the_pairs_that_change():
    a = np.array([1] * 5 + [0] * 1 + [1] * 10, bool)
    b = np.array([0] * 5 + [1] * 1 + [1] * 10, bool)
    # Exact: 2 * (C(6,0) + C(6,1)) / 2^6.
    assert mcnemar_exact(a, b) == (5, 1, pytest.approx(14 / 64))
    assert mcnemar_exact(a, a) == (0, 0, 1.0)


def test_more_comparisons_ask_for_more(rng):
    a, b, component = simulate(rng, 5, gain=0.05)
    one, many = (compare([(a, b)], component, comparisons)[0] for comparisons in (1, 14))
    assert many.corrected_p == pytest.approx(min(1, 14 * one.p))
    too_many = compare([(a, b)], component, int(0.05 / one.p) + 1)[0]
    assert (one.word, too_many.word) == ("better", "inside the noise")


def test_what_differs_by_seed_and_pair_alone_is_counted_once(rng):
    values = rng.random((20, 2000)) < 0.5
    found = compare([(values, np.zeros_like(values))], np.arange(2000), draws=4000)[0]
    assert found.pair_variance < 0.2 * 0.25 / values.size < found.seed_variance


def test_mean_interval_is_near_wilsons_for_one_run(rng):
    correct = rng.random((1, 1000)) < 0.7
    low, high = mean_interval(correct, np.arange(1000))
    assert low < correct.mean() < high and 0.05 < high - low < 0.065


def test_a_gap_without_error_of_the_pairs_has_students_interval():
    correct = np.array([np.arange(400) % 10 < n for n in (6, 7, 9)])  # alike in each component
    found = gap((np.ones_like(correct), np.arange(400) // 10), (correct, np.arange(400) // 10))
    error = np.std([0.4, 0.3, 0.1], ddof=1) / np.sqrt(3)
    assert found.difference == pytest.approx(0.8 / 3)
    assert found.high - found.difference == pytest.approx(4.303 * error, rel=0.1)  # t, 2 degrees


def test_seeds_needed_shrinks_the_seeds_part_only():
    found = Difference(0.04, 0, 0, 0.1, 3, 0.0004, 0.0001)
    assert 3 < seeds_needed(found) < 40
    assert seeds_needed(Difference(0.01, 0, 0, 0.1, 3, 0.0004, 0.0001)) is None


def test_verdicts_need_seeds_and_words():
    better = Difference(0.1, 0.05, 0.15, 0.001, 5, 0.0001, 0.0001, 0.01, "better")
    few = Difference(0.1, 0.05, 0.15, 0.001, 1, None, 0.0001, 0.01, "better")
    claim = next(c for c in CLAIMS if c.expects == "better")
    against = next(c for c in CLAIMS if c.expects == "no gain")
    assert verdict(claim, better) == "supported" and verdict(against, better) == "contradicted"
    assert verdict(claim, few) == "no verdict"


def test_holm_is_the_worked_example_and_no_stricter_than_bonferroni():
    # Holm (1979) on p = .01, .04, .03, .005: times 3, 1, 2 and 4, never below a smaller one's.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.5], comparisons=10) == pytest.approx([0.1, 1.0])  # those missing count as larger
    assert holm([]) == []


def test_no_gain_is_supported_where_the_interval_ends_below_a_point():
    against = next(c for c in CLAIMS if c.expects == "no gain")
    for low, high, word, expected in (
        (-0.02, 0.009, "inside the noise", "supported"),
        (-0.02, 0.02, "inside the noise", "inside the noise"),
        (0.005, 0.03, "better", "contradicted"),
        (-0.05, -0.01, "worse", "supported"),
    ):
        assert verdict(against, Difference((low + high) / 2, low, high, 0.1, 3, 1e-4, 1e-4, 0.1, word)) == expected
    gain = next(c for c in CLAIMS if c.expects == "better")
    assert verdict(gain, Difference(0, -0.02, 0.009, 0.9, 3, 1e-4, 1e-4, 1.0, "inside the noise")) == "inside the noise"


def test_replicates_of_one_network_spread_as_far_as_the_published_gains():
    found = replicates()
    assert sorted(accuracy for _, accuracy in found.runs) == [0.677, 0.682, 0.694, 0.703]
    assert (round(found.mean, 3), round(found.deviation, 3)) == (0.689, 0.012)
    resting = [c.text for c in CLAIMS if found.include(c)]
    assert resting == ["Early stopping with checkpoints raises accuracy", "Batch-norm after the activation helps"]
    assert found.mean + 2 * found.deviation > 0.712


def test_claims_name_variants_that_exist():
    known = {(s.id, v.id) for s in LADDERS["report"].stages for v in s.variants}
    assert all({c.variant, c.incumbent} <= known for c in CLAIMS)
    assert FIGURES["augmentation", "after-activation"].accuracy == 0.712


def test_published_rows_that_do_not_add_up_are_found():
    found = inconsistencies()
    totals = {(stage, variant) for stage, variant, what in found if "total" in what}
    assert totals == {
        ("batchnorm", "activation-and-pooling"),
        ("batchnorm", "after-activation"),
        ("batchnorm", "before-activation"),
        ("augmentation", "impatient"),
    }
    assert {(s, v) for s, v, what in found if "ended early" in what} == {
        ("label-clipping", "copies-and-originals"),
        ("lr-schedule", "drop40"),
    }
    assert {(s, v) for s, v, what in found if "also printed for" in what} == {
        ("early-stopping", "patience5"),
        ("batchnorm", "before-activation"),
        ("augmentation", "after-activation"),
    }
