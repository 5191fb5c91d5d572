"""One figure reads the same wherever it is shown: from results.csv, from result.json, as a mean, in the browser."""

import io
import math

import numpy as np
import pytest

from lfwstudy.report import measured
from lfwstudy.system.files import cell
from lfwstudy.system.text import percent, signed_points, sparkline, wrapped


@pytest.mark.parametrize(
    "share, shown",
    [
        (0.8125, "81.3"),
        (0.8115, "81.2"),
        (0.8105, "81.1"),
        (0.57250, "57.3"),
        (0.81249, "81.2"),
        (0.0, "0.0"),
        (1.0, "100.0"),
        (None, ""),
        (float("nan"), "nan"),
        ("0.8125", "81.3"),
        (np.float64(0.8125), "81.3"),
        (0.07125, "7.1"),
        (1e-9, "0.0"),
    ],
)
def test_halves_are_rounded_up_whatever_binary_makes_of_them(share, shown):
    assert percent(share) == shown


@pytest.mark.parametrize(
    "share, shown",
    [(0.0125, "+1.3"), (-0.0125, "-1.3"), (0.0, "+0.0"), (-0.0004, "+0.0"), (0.0004, "+0.0"), (-0.001, "-0.1")],
)
def test_points_carry_a_sign_and_zero_has_one(share, shown):
    assert signed_points(share) == shown


@pytest.mark.parametrize("seeds", [1, 2, 4, 5])
def test_a_mean_reads_the_same_from_every_source(seeds):
    """Every share of 1,000 test pairs (or 440 validation pairs) that ends in a half, as its mean may come out."""
    for pairs in (1000, 440):
        for right in range(0, pairs, 7):
            shares = [min(right + seed * seed, pairs) / pairs for seed in range(seeds)]
            rows = [{"test_accuracy": cell(share)} for share in shares]
            told = {
                percent(sum(shares) / seeds),
                percent(np.mean(shares)),
                percent(math.fsum(reversed(shares)) / seeds),
                percent(measured.mean_of([{"a": s} for s in shares], "a")),
                percent(np.mean([float(row["test_accuracy"]) for row in rows])),
            }
            assert len(told) == 1, (shares, told)


def test_a_sparkline_rises_and_falls_with_its_numbers():
    assert sparkline([0.5, 0.6, float("nan"), 0.7, 0.55]) == "▁▅█▃" and sparkline([0.5, 0.5]) == "▁▁"
    assert sparkline([]) == "" and sparkline([*range(30)], 4) == "▁▃▆█"


def test_long_lines_are_wrapped_at_words_in_a_terminal_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "24")
    assert (
        wrapped("600 pairs, person-disjoint by components", Terminal())
        == "600 pairs,\n  person-disjoint by\n  components"
    )
    assert wrapped("600 pairs, person-disjoint by components", io.StringIO()).count("\n") == 0
