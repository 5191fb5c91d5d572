import numpy as np
import pytest

from lfwstudy.evaluation import metrics

LABEL = np.array([1, 1, 1, 1, 0, 0, 0, 0])
SCORE = np.array([0.9, 0.8, 0.6, 0.4, 0.55, 0.3, 0.2, 0.1])


def test_accuracy_and_rates_at_one_half():
    assert metrics.accuracy(LABEL, SCORE) == 0.75
    assert metrics.rates(LABEL, SCORE) == (0.75, 0.75)
    assert metrics.rates(LABEL, np.ones(8)) == (1.0, 0.0)


def test_cross_entropy_is_the_mean_log_loss():
    assert metrics.cross_entropy([1, 0], [0.5, 0.5]) == pytest.approx(np.log(2))
    assert metrics.cross_entropy([1], [0.0]) == pytest.approx(-np.log(1e-7))


def test_auc_counts_pairs_in_the_right_order():
    wins = sum(a > b for a in SCORE[:4] for b in SCORE[4:])
    assert metrics.auc(LABEL, SCORE) == pytest.approx(wins / 16)


def test_equal_error_rate_where_both_errors_are_equal():
    assert metrics.equal_error_rate(LABEL, SCORE) == pytest.approx(0.25)
    assert metrics.equal_error_rate([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1]) == 0
    assert metrics.equal_error_rate([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]) == 1
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=20_000)
    # Two normal distributions two standard deviations apart: EER = Phi(-1).
    assert metrics.equal_error_rate(label, rng.normal(2.0 * label)) == pytest.approx(0.1587, abs=0.006)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("label, rates", [(np.ones(8), (0.5, np.nan)), (np.zeros(8), (np.nan, 0.5))])
def test_pairs_of_one_class_have_no_curve_and_no_traceback(label, rates):
    score = np.linspace(0.1, 0.9, 8)
    found = metrics.summarise(label, score)
    np.testing.assert_equal([found["tpr"], found["tnr"]], rates)
    assert (
        found["accuracy"] == 0.5
        and np.isnan([found["auc"], found["eer"], metrics.true_accept_rate(label, score, 0.01)]).all()
    )
    assert metrics.platt(label, score) == (1.0, 0.0)


def test_calibration_on_held_out_pairs_moves_the_threshold_and_keeps_the_order():
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=4000)
    score = 1 / (1 + np.exp(-rng.normal(4 * label - 6)))  # all below 0.5, as distance heads may be
    calibrated = metrics.calibrated(label[:2000], score[:2000], score[2000:])
    assert metrics.accuracy(label[2000:], score[2000:]) < 0.6 < 0.95 < metrics.accuracy(label[2000:], calibrated)
    assert (np.argsort(calibrated) == np.argsort(score[2000:])).all()


def test_an_ensemble_averages_logits():
    assert metrics.ensemble([[0.9, 0.5], [0.5, 0.5]]) == pytest.approx([0.75, 0.5])  # odds 9 and 1: the root, 3


def test_wilson_interval_of_a_worked_example():
    # Newcombe (1998), table I: 81 of 263, method 3: .2553 to .3662.
    assert metrics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert metrics.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_scores_that_are_not_finite_give_nan():
    assert all(np.isnan(v) for v in metrics.summarise(LABEL, np.full(8, np.nan)).values())


def test_examples_are_the_surest_and_the_least_sure():
    groups = metrics.pick_examples([1] * 9 + [0] * 3, [0.6, 0.9, 0.7, 0.8, 0.99, 0.55, 0.65, 0.75, 0.4, 0.7, 0.1, 0.9])
    assert groups[True, True] == [4, 1, 3, 7, 0, 5] and groups[True, False] == [8]
    assert groups[False, True] == [10] and groups[False, False] == [11, 9]


def test_best_threshold_is_the_most_accurate_and_nearest_to_one_half():
    label = np.array([1, 1, 0, 0])
    assert metrics.best_threshold(label, np.array([0.9, 0.3, 0.2, 0.1])) == pytest.approx(0.25)
    assert metrics.best_threshold(label, np.array([0.9, 0.8, 0.2, 0.1])) == pytest.approx(0.5)
    rng = np.random.default_rng(1)
    label, score = rng.integers(2, size=200), rng.random(200)
    best = max(metrics.accuracy(label, score, t) for t in [0.0, *score, 1.0])
    assert metrics.accuracy(label, score, metrics.best_threshold(label, score)) == pytest.approx(best, abs=0.0051)


def test_true_accept_rate_allows_its_share_of_false_accepts():
    label = np.array([1] * 4 + [0] * 100)
    score = np.concatenate([[0.995, 0.985, 0.5, 0.2], np.arange(100) / 100])
    assert metrics.true_accept_rate(label, score, 0.01) == 0.5
    assert metrics.true_accept_rate(label, score, 0.001) == 0.25
    assert metrics.true_accept_rate(label, score, 1.0) == 1.0


def test_calibration_error_of_a_constant_is_its_distance():
    error, points = metrics.calibration([1, 1, 1, 0], np.full(4, 0.95))
    assert error == pytest.approx(0.2) and points == [(pytest.approx(0.95), 0.75, 4)]


def test_view2_standard_error_is_of_the_mean_over_folds():
    mean, error = metrics.view2_estimate([0.9, 0.8] * 5)
    assert (mean, error) == (pytest.approx(0.85), pytest.approx(0.05 * np.sqrt(10 / 9) / np.sqrt(10)))
