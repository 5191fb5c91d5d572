"""Verdicts on differences and on the report's claims: tables of paired comparisons on the same test pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lfwstudy.evaluation import intervals
from lfwstudy.evaluation.intervals import Difference
from lfwstudy.ladder import CLAIMS, FIGURES, LADDERS, base_config, published_figures
from lfwstudy.ladder.claims import FEWEST_SEEDS, SMALLEST_GAIN, verdict
from lfwstudy.ladder.stage import Claim
from lfwstudy.report.measured import finished_results, mean_of, place
from lfwstudy.report.summary import best_published
from lfwstudy.report.table import Interval, Table
from lfwstudy.report.wording import Text, command, counted, is_lfw, shows_published, source_line
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Rung
from lfwstudy.system.text import p_value, percent, signed_points

Candidates = Mapping[tuple[str, str], Candidate]
# The columns of the table of claims.
_CLAIM = ("the report's claim", "published", "here [95 %]", "verdict", "why")


def differences(study: Results, rungs: Sequence[Rung]) -> Table:
    """Each variant against its stage's starting point, on the same test pairs with the best epochs' weights."""
    found = study.differences(study.climb())  # corrected together, on a stage's page too
    here = [(rung.before, c, found[c.key]) for rung in rungs for c in rung.candidates if rung.before and c.key in found]
    rows = [
        place(rungs, c)
        | {
            "against": str(before),
            "difference [95 %]": Interval(d.difference, d.low, d.high),
            "p": d.p,
            "corrected p": d.corrected_p,
            "in words": d.word if d.seeds >= FEWEST_SEEDS else f"no verdict: {counted(d.seeds, 'seed')}",
        }
        for before, c, d in here
        if d.seeds > 1
    ]
    added = f" This adds them: `{command(study, seeds=FEWEST_SEEDS)}`." if len(rungs) > 1 else ""
    alone = _of_one_seed("difference", [d for *_, d in here], added)
    caption = (
        "Differences in points of test accuracy at the best epochs. Interval: bootstrap over seeds and over connected "
        f"components of people. Corrected p: Holm's correction for the ladder's {study.comparisons()} comparisons; the words "
        f"rest on it and take at least {FEWEST_SEEDS} seeds. {alone}"
    ).strip()
    empty = alone or "There is nothing to compare yet: a difference needs two finished variants with scored test pairs."
    if rungs and all(rung.before is None and rung.candidates for rung in rungs):
        empty = ""  # the first stage
    return Table(rows=rows, caption=caption, source=source_line(study), empty=empty)


def claim_verdicts(study: Results, stage: str = "", audits: Mapping[str, Mapping[str, Any]] | None = None) -> Table:
    """The report's claims: its own figures, those measured here, the verdict and its reason.

    Parameters
    ----------
    stage : str
        Only the claims on this stage; empty for all.
    audits : mapping, optional
        `Study.audits`, which says whether the published split separates people.
    """
    if not shows_published(study):
        others = "other ladders" if is_lfw(study) else "images other than LFW's"
        return Table(empty="" if stage else f"No verdict on the report's claims is drawn from {others}.")
    reports_own = {**study.settings.combination(), "select": "report"}
    path = next((s for s in (study, *study.combinations()) if s.settings.combination() == reports_own), None)
    if path is None:
        added = command(study, select="report")
        why = f"Verdicts on the report's claims need runs along its own path. This adds those that are missing: `{added}`."
        return Table(empty="" if stage else why)
    candidates = {c.key: c for rung in path.climb() for c in rung.candidates}
    compared = _compare(path, candidates)
    here = [c for c in CLAIMS if stage in ("", c.variant[0])]
    alone = _of_one_seed("claim", [compared[c] for c in here if c in compared])
    several = [c for c in here if c not in compared or compared[c].seeds > 1]
    rows = [_claim_row(path, c, candidates, compared.get(c)) for c in several]
    if not stage:
        rows += [_slowdown(path, candidates), _disjoint_people(audits or {})]
    caption = (
        "Differences in points of test accuracy. Published: LFW-a, single runs. A verdict needs "
        f"{FEWEST_SEEDS} seeds and a p-value below .05 after Holm's correction for {len(CLAIMS)} comparisons. That something "
        f"brings no gain is also supported where the interval ends below {signed_points(SMALLEST_GAIN)} points. {alone}"
    ).strip()
    empty = alone or "The report makes no claim on this stage that a comparison could test."
    return Table(rows=rows, caption=caption, source=source_line(path), empty=empty)


def inconsistencies(study: Results) -> Table:
    """Inconsistent published rows."""
    found = published_figures.inconsistencies() if shows_published(study) else ()
    rows = [{"published row": f"{stage}: {variant}", "inconsistency": what} for stage, variant, what in found]
    return Table(rows=rows, caption="Published figures that are inconsistent with each other.")


def replicates(study: Results) -> Text:
    """Published runs that share one network, their spread, and whether any published gain is outside it."""
    if not shows_published(study):
        return Text("")
    found, best = published_figures.replicates(), best_published()
    away = (best - found.mean) / found.deviation
    names = ", ".join(f"`{stage}: {variant}` {percent(accuracy)}" for (stage, variant), accuracy in found.runs)
    meant = (
        "no published gain exceeds the effect of repeating one training" if away < 2 else "that is outside their spread"
    )
    return Text(
        f'**Replicates.** The published code inserts no batch-norm layer "after activation", so {len(found.runs)} of its runs '
        f"are of one network: {names} % (mean {percent(found.mean)}, standard deviation {percent(found.deviation)} points). The "
        f"best published figure, {percent(best)} %, is {away:.1f} standard deviations above their mean: {meant}."
    )


def _of_one_seed(what: str, found: Sequence[Difference], added: str = "") -> str:
    """The sentence in place of comparisons of one seed, which are of two networks, not of what was changed; or nothing.

    added: its end, which says how to get more seeds.
    """
    alone = [d.difference for d in found if d.seeds == 1]
    if not alone:
        return ""
    span = " to ".join(dict.fromkeys(signed_points(d) for d in (min(alone), max(alone))))
    return (
        f"No verdict on {counted(len(alone), what)} measured with one seed ({span} points of test accuracy): a verdict takes "
        f"at least {FEWEST_SEEDS} seeds.{added}"
    )


def _compare(study: Results, candidates: Candidates) -> dict[Claim, Difference]:
    """The claims whose two variants are finished; all are corrected together, even on a stage's own page."""
    known: dict[Claim, tuple[np.ndarray, np.ndarray]] = {}
    for claim in CLAIMS:
        given = [candidates[key] for key in (claim.variant, claim.incumbent) if key in candidates]
        arrays = [correct for c in given if (correct := study.correct(c, claim.column)) is not None]
        if len(arrays) == 2:
            known[claim] = (arrays[0], arrays[1])
    if not known:
        return {}
    return dict(zip(known, intervals.compare(list(known.values()), study.test_components(), len(CLAIMS))))


def _claim_row(study: Results, claim: Claim, candidates: Candidates, d: Difference | None) -> dict[str, Any]:
    two = claim.variant, claim.incumbent
    # The published code has no batch-norm where the report says "after the activation".
    as_meant = LADDERS["report"].path(base_config(study.settings.profile))
    untested = "batchnorm" in (stage for stage, _ in two) and any(
        candidates[key].config.model.batchnorm != as_meant[key].model.batchnorm for key in two if key in candidates
    )
    printed = [p.accuracy for key in two if (p := FIGURES.get(key))]
    why = "The published code inserts no batch-norm layer there: its networks do not test this claim."
    cells = (
        claim.text,
        printed[0] - printed[1] if len(printed) == 2 else "no figure",
        Interval(d.difference, d.low, d.high) if d else "not run",
        verdict(claim, d) if d and not untested else "no verdict",
        why if untested else _why(claim, d),
    )
    return dict(zip(_CLAIM, cells))


def _why(claim: Claim, found: Difference | None) -> str:
    if found is None:
        reasons = ["One of the two is not finished with scored test pairs."]
    elif found.seeds < FEWEST_SEEDS:
        reasons = [f"{found.seeds} runs of each are too few to know the spread between seeds."]
    else:
        reasons = [f"Corrected p {p_value(found.corrected_p)}, {found.seeds} seeds."]
        if found.word == "inside the noise":
            needed = intervals.seeds_needed(found, len(CLAIMS))
            reasons.append(
                f"If the difference stays as it is, {needed - found.seeds} more seeds will show it."
                if needed and needed > found.seeds
                else "With these test pairs no number of seeds would show a difference this small."
            )
    if found and published_figures.replicates().include(claim):
        reasons.append("The two published figures are of one network, trained twice.")
    return " ".join([*reasons, claim.note]).strip()


def _slowdown(study: Results, candidates: Candidates) -> dict[str, Any]:
    keys = (("batchnorm", "before-activation"), ("early-stopping", "patience5"))
    printed = [p.seconds_total / p.epochs for key in keys if (p := FIGURES.get(key)) and p.seconds_total and p.epochs]
    found = [finished_results(study, candidates[key]) if key in candidates else [] for key in keys]
    slow, fast = (mean_of(results, "seconds_per_epoch") for results in found)
    here = f"× {slow / fast:.2f}" if slow and fast else "not run"
    why = "Seconds per epoch with batch-norm before the activation and without; on another machine, other work may have run."
    told = "Batch-norm makes training only a little slower", f"× {printed[0] / printed[1]:.2f} (total time / epochs)"
    return dict(zip(_CLAIM, (*told, here, "no verdict", why)))


def _disjoint_people(audits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    told = "No person is in both training and validation", "0 people"
    if not (published := audits.get("sequential")):
        return dict(zip(_CLAIM, (*told, "not counted", "no verdict", "")))
    shared = published["shared_people"]
    here = f"{shared} of {published['validation_people']} people"
    why = "Counted on the split of its published code: the first fifth of the matched and of the mismatched pairs."
    return dict(zip(_CLAIM, (*told, here, "contradicted" if shared else "supported", why)))
