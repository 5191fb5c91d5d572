"""Verdicts on what the report claims."""

from lfwstudy.evaluation.intervals import Difference
from lfwstudy.ladder.stage import Claim

# A smaller gain is no gain: one point of test accuracy.
SMALLEST_GAIN = 0.01
# With fewer seeds there is no verdict: the spread between seeds is practically unknown.
FEWEST_SEEDS = 3


def verdict(claim: Claim, found: Difference) -> str:
    """supported, contradicted or inside the noise, from a corrected Difference; no verdict with too few seeds.

    That something brings no gain is supported where its interval ends below SMALLEST_GAIN.
    """
    if found.seeds < FEWEST_SEEDS:
        return "no verdict"
    if claim.expects == "no gain" and found.high < SMALLEST_GAIN:
        return "supported"
    if found.word == "inside the noise":
        return "inside the noise"
    wanted = {"better": "better", "worse": "worse", "no gain": "worse"}[claim.expects]
    return "supported" if found.word == wanted else "contradicted"
