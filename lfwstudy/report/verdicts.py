"""Verdicts on differences and on the report's claims: tables of paired comparisons on the same test pairs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lfwstudy.evaluation import intervals
from lfwstudy.evaluation.intervals import Difference
from lfwstudy.ladder import FIGURES, LADDERS, base_config, claims
from lfwstudy.ladder.claims import Claim
from lfwstudy.report.measured import finished_results, mean_accuracy, mean_of
from lfwstudy.report.summary import best_published
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.report.wording import Text, counted, is_demo, shows_published, source_line
from lfwstudy.system.text import p_value, percent, signed_points

if TYPE_CHECKING:
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Candidate, Rung

Candidates = Mapping[tuple[str, str], "Candidate"]


def differences(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """Each variant against its stage's starting point, on the same test pairs with the best epochs' weights."""
    found = study.differences(study.climb())  # corrected together, on a stage's page too
    here = [
        (rung.before, c, found[key])
        for rung in rungs
        for c in rung.candidates
        if rung.before and (key := (rung.stage.id, c.variant)) in found
    ]
    alone = _of_one_seed("difference", [d for *_, d in here])
    columns = [
        Column("stage"),
        Column("variant", "name"),
        Column("against"),
        Column("difference [95 %]", "points"),
        Column("p", "p"),
        Column(f"p, corrected for {study.comparisons()}", "p"),
        Column("in words"),
        Column("McNemar per seed (gained, lost, p)"),
    ]
    rows = [_difference_row(study, *compared) for compared in here if compared[-1].seeds > 1]
    caption = (
        "Differences in points of test accuracy at the best epochs. Interval: bootstrap over seeds and over connected "
        "components of people. The verdict uses the Holm-corrected p-value and needs at least "
        f"{claims.FEWEST_SEEDS} seeds. McNemar's exact test treats pairs as independent. {alone}"
    ).strip()
    empty = alone or "There is nothing to compare yet: a difference needs two finished variants with scored test pairs."
    if rungs and all(rung.before is None and rung.candidates for rung in rungs):
        empty = "This is the first stage: there is nothing to compare with yet."
    return Table(columns, rows, caption, source_line(study), empty)


def claim_verdicts(study: "Results", stage: str = "", audits: Mapping[str, Mapping[str, Any]] | None = None) -> Table:
    """The report's claims: its own figures, those measured here, the verdict and its reason.

    Parameters
    ----------
    stage : str
        Only the claims on this stage; empty for all.
    audits : mapping, optional
        `Study.audits`, which says whether the published split separates people.
    """
    if is_demo(study):
        return Table.nothing("No verdict on the report's claims is drawn from demo faces.")
    if study.of_other_people:
        return Table.nothing("No verdict on the report's claims is drawn from images other than LFW's.")
    if not study.ladder.has_path():
        return Table.nothing("The report's claims are about its own ladder, not this one.")
    path = study if study.settings.select == "report" else _along_the_reports_path(study)
    if path is None:
        return Table.nothing(
            "Verdicts on the report's claims need runs along its own path: add them to this study with `lfwstudy run --select "
            "report` and the same other options. Finished runs are not trained again."
        )
    candidates = {(rung.stage.id, c.variant): c for rung in path.climb() for c in rung.candidates}
    compared = _compare(path, candidates)
    here = [c for c in claims.CLAIMS if stage in ("", c.variant[0])]
    alone = _of_one_seed("claim", [compared[c] for c in here if c in compared])
    several = [c for c in here if c not in compared or compared[c].seeds > 1]
    rows = [_claim_row(path, c, candidates, compared.get(c)) for c in several]
    if not stage:
        rows += [_slowdown(path, candidates), _disjoint_people(audits or {})]
    columns = [Column("the report's claim"), Column("published", "points"), Column("here [95 %]", "points")]
    caption = (
        "Differences in points of test accuracy. Published: LFW-a, single runs. A verdict needs "
        f"{claims.FEWEST_SEEDS} seeds and a p-value below .05 after Holm's correction for {len(claims.CLAIMS)} comparisons. "
        "That something brings no gain is also supported where the interval ends below "
        f"{signed_points(claims.SMALLEST_GAIN)} points. {alone}"
    ).strip()
    empty = alone or "The report makes no claim on this stage that a comparison could test."
    return Table([*columns, Column("verdict"), Column("why")], rows, caption, source_line(path), empty)


def inconsistencies(study: "Results") -> Table:
    """Inconsistent published rows; nothing next to other people's images."""
    if study.of_other_people:
        return Table()
    columns = [Column("stage"), Column("variant", "name"), Column("what")]
    rows = [dict(zip(("stage", "variant", "what"), found)) for found in claims.published_inconsistencies()]
    return Table(columns, rows, "Published figures that are inconsistent with each other.")


def replicates(study: "Results") -> Text:
    """Published runs that share one network, their spread, and whether any published gain is outside it."""
    if not shows_published(study):
        return Text("")
    found, best = claims.replicates(), best_published()
    away = (best - found.mean) / found.deviation
    names = ", ".join(f"`{stage}: {variant}` {percent(accuracy)}" for (stage, variant), accuracy in found.runs)
    meant = (
        "no published gain exceeds the effect of repeating one training."
        if away < 2
        else "that is outside their spread."
    )
    return Text(
        f'**Replicates.** The published code inserts no batch-norm layer "after activation", so {len(found.runs)} of its runs '
        f"are of one network: {names} % (mean {percent(found.mean)}, standard deviation {percent(found.deviation)} points). The "
        f"best published figure, {percent(best)} %, is {away:.1f} standard deviations above their mean: {meant}"
        + _replicated_here(study, found)
    )


def _of_one_seed(what: str, found: Sequence[Difference]) -> str:
    """The sentence in place of the comparisons of one seed, which are of two networks, not of what was changed; or nothing."""
    alone = [d.difference for d in found if d.seeds == 1]
    if not alone:
        return ""
    span = " to ".join(dict.fromkeys(signed_points(d) for d in (min(alone), max(alone))))
    return (
        f"No verdict on {counted(len(alone), what)} measured with one seed ({span} points of test accuracy): it takes at least "
        f"{claims.FEWEST_SEEDS}, `--seeds {claims.FEWEST_SEEDS}`."
    )


def _difference_row(study: "Results", before: "Candidate", candidate: "Candidate", d: Difference) -> dict[str, Any]:
    correct = [found for c in (candidate, before) if (found := study.correct(c)) is not None]
    tests = [intervals.mcnemar_exact(a, b) for a, b in zip(*correct)]
    return {
        "stage": candidate.stage,
        "variant": candidate.variant,
        "against": f"{before.stage}: {before.variant}",
        "difference [95 %]": Interval(d.difference, d.low, d.high),
        "p": d.p,
        f"p, corrected for {study.comparisons()}": d.corrected_p,
        "in words": d.word if d.seeds >= claims.FEWEST_SEEDS else f"no verdict: {counted(d.seeds, 'seed')}",
        "McNemar per seed (gained, lost, p)": "; ".join(f"{g}, {lost}, {p_value(p)}" for g, lost, p in tests),
    }


def _compare(study: "Results", candidates: Candidates) -> dict[Claim, Difference]:
    """The claims whose two variants are finished; all corrected together, on a stage's page too."""
    known: dict[Claim, tuple[np.ndarray, np.ndarray]] = {}
    for claim in claims.CLAIMS:
        given = [candidates[key] for key in (claim.variant, claim.incumbent) if key in candidates]
        arrays = [correct for c in given if (correct := study.correct(c, claim.column)) is not None]
        if len(arrays) == 2:
            known[claim] = (arrays[0], arrays[1])
    if not known:
        return {}
    found = intervals.compare(list(known.values()), study.test_components(), len(claims.CLAIMS))
    return dict(zip(known, found))


def _claim_row(study: "Results", claim: Claim, candidates: Candidates, d: Difference | None) -> dict[str, Any]:
    # The published code has no batch-norm where the report says "after the activation".
    as_meant = LADDERS["report"].path(base_config(study.settings.profile))
    untested = claim.batchnorm and any(
        candidates[key].config.model.batchnorm != as_meant[key].model.batchnorm
        for key in (claim.variant, claim.incumbent)
        if key in candidates
    )
    printed = [p.accuracy for key in (claim.variant, claim.incumbent) if (p := FIGURES.get(key))]
    return {
        "the report's claim": claim.text,
        "published": printed[0] - printed[1] if len(printed) == 2 else "no figure",
        "here [95 %]": Interval(d.difference, d.low, d.high) if d else "not run",
        "verdict": claims.verdict(claim, d) if d and not untested else "no verdict",
        "why": "The published code inserts no batch-norm layer there: its networks do not test this claim."
        if untested
        else _why(claim, d),
    }


def _why(claim: Claim, found: Difference | None) -> str:
    if found is None:
        reasons = ["One of the two is not finished with scored test pairs."]
    elif found.seeds < claims.FEWEST_SEEDS:
        more = claims.FEWEST_SEEDS - found.seeds
        reasons = [
            f"{counted(found.seeds, 'run')} of each: too few to know the spread between seeds; at least "
            f"{counted(more, 'more seed')} needed."
        ]
    else:
        reasons = [f"{found.word}, corrected p {p_value(found.corrected_p)}, {found.seeds} seeds."]
        if found.word == "inside the noise":
            needed = intervals.seeds_needed(found, len(claims.CLAIMS))
            reasons.append(
                f"If the difference stayed, {needed - found.seeds} more seeds would show it."
                if needed and needed > found.seeds
                else "With these test pairs no number of seeds would show a difference this small."
            )
    if found and claims.replicates().include(claim):
        reasons.append("The two published figures are of one network, trained twice.")
    return " ".join([*reasons, claim.note]).strip()


def _slowdown(study: "Results", candidates: Candidates) -> dict[str, str]:
    keys = (("batchnorm", "before-activation"), ("early-stopping", "patience5"))
    printed = [p.seconds_total / p.epochs for key in keys if (p := FIGURES.get(key)) and p.seconds_total and p.epochs]
    found = [finished_results(study, candidates[key]) if key in candidates else [] for key in keys]
    slow, fast = (mean_of(results, "seconds_per_epoch") for results in found)
    return {
        "the report's claim": "Batch-norm makes training only a little slower",
        "published": f"× {printed[0] / printed[1]:.2f} (total time / epochs)",
        "here [95 %]": f"× {slow / fast:.2f}" if slow and fast else "not run",
        "verdict": "no verdict",
        "why": "Seconds per epoch, before the activation against none; another machine, whose other load is not controlled.",
    }


def _disjoint_people(audits: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    row = {"the report's claim": "No person is in both training and validation"}
    if not (published := audits.get("sequential")):
        return {**row, "here [95 %]": "not counted", "verdict": "no verdict"}
    shared = published["shared_people"]
    return {
        **row,
        "published": "0 people",
        "here [95 %]": f"{shared} of {published['validation_people']} people",
        "verdict": "contradicted" if shared else "supported",
        "why": "Counted on the split of its published code: the first fifth of the matched and of the mismatched pairs.",
    }


def _along_the_reports_path(study: "Results") -> "Results | None":
    """The ladder in the same folder that follows the report's own choices, None if there is none."""
    wanted = {**study.settings.combination(), "select": "report"}
    return next((other for other in study.combinations() if other.settings.combination() == wanted), None)


def _replicated_here(study: "Results", found: claims.Replicates) -> str:
    """The same variants' test accuracy here; empty where fewer than two are finished."""
    if not study.ladder.replicated or is_demo(study):
        return ""
    named = [c for rung in study.climb() for c in rung.candidates if (c.stage, c.variant) in dict(found.runs)]
    mine = [accuracy for c in named if (accuracy := mean_accuracy(study, c)) is not None]
    if len(mine) < 2:
        return ""
    dataset = study.settings.dataset
    images = "the same images" if dataset == "lfw-a" else f"other images, {dataset} instead of LFW-a"
    return f" Here, on {images}, these variants average {percent(float(np.mean(mine)))} % ({', '.join(map(percent, mine))})."
