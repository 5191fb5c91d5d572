"""What is found, and can it be trusted? Tables of differences, claims, measures and oddities, computed from runs."""

import numpy as np
from IPython.display import Markdown

from lfwstudy.data import duplicates as near
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.ladder import LADDERS, PROFILES, REPORT, base_config, claims, reproduction
from lfwstudy.report.tables import PICTURE_CLASSES, finished_results, is_demo, mean_accuracy, mean_of, table
from lfwstudy.system.text import percent, signed_points
from lfwstudy.training.decisions import diverged, should_stop


def differences(study, rungs):
    """Each variant against the incumbent of its stage, on the same test pairs with the best epochs' weights."""
    found = study.differences(study.climb())  # corrected together, on a stage's page too
    if not found:
        return Markdown(
            "There is nothing to compare yet: a difference needs two finished variants with scored test pairs."
        )
    rows = []
    for rung in rungs:
        for candidate in rung.candidates:
            d = found.get((rung.stage.id, candidate.variant))
            if d is None:
                continue
            tests = [
                intervals.mcnemar_exact(a, b) for a, b in zip(study.correct(candidate), study.correct(rung.before))
            ]
            rows.append(
                {
                    "stage": rung.stage.id,
                    "variant": candidate.variant,
                    "against": f"{rung.before.stage}: {rung.before.variant}",
                    "difference": signed_points(d.difference),
                    "95 % interval": _span(d.low, d.high),
                    # The p-value of one seed would be of these two networks, not of what was changed.
                    "p": _p(d.p) if d.seeds > 1 else "",
                    f"p, corrected for {study.comparisons()}": _p(d.corrected_p) if d.seeds > 1 else "",
                    "in words": d.word
                    if d.seeds >= claims.FEWEST_SEEDS
                    else f"no verdict: {d.seeds} seed{'s' if d.seeds > 1 else ''}",
                    "McNemar per seed (gained, lost, p)": "; ".join(f"{g}, {lost}, {_p(p)}" for g, lost, p in tests),
                }
            )
    seeds = "With one seed the interval knows nothing of the spread between seeds. " if study.seeds() == 1 else ""
    return table(
        rows,
        "Differences in points of test accuracy at the best epochs. Intervals: bootstrap over seeds and over "
        "connected components of people; words follow the p-value, by Holm's correction for the ladder's comparisons, and need "
        f"{claims.FEWEST_SEEDS} seeds. {seeds}McNemar's exact test treats pairs as independent.",
        study,
    )


def claim_verdicts(study, rungs, stage=""):
    """The report's claims (on one stage, or all): what it saw, what is measured here, the verdict and why."""
    if is_demo(study):
        return Markdown("No verdict on the report's claims is drawn from demo faces.")
    if not LADDERS[study.settings.ladder].has_path():
        return Markdown("The report's claims are about its own ladder; this is another.")
    if study.settings.select != "report":
        study = _along_the_reports_path(study)
        if study is None:
            return Markdown(
                "Verdicts on the report's claims are drawn from runs along its own path: add them to this study with "
                "`lfwstudy run --select report` and the same other options; what is trained already is not "
                "trained again."
            )
        rungs = study.climb()
    candidates = {(r.stage.id, c.variant): c for r in rungs for c in r.candidates}
    rows, known = [], []
    # All that are known are corrected together, on a stage's page too.
    for claim in claims.CLAIMS:
        arrays = [
            study.correct(candidates[key], claim.column) if key in candidates else None
            for key in (claim.variant, claim.incumbent)
        ]
        known.append(arrays if all(a is not None for a in arrays) else None)
    given = [arrays for arrays in known if arrays]
    results = iter(intervals.compare(given, study.test_components(), len(claims.CLAIMS)) if given else ())
    as_meant = LADDERS["report"].path(base_config(study.settings.profile))
    for claim, arrays in zip(claims.CLAIMS, known):
        d = next(results) if arrays else None
        if stage not in ("", claim.variant[0]):
            continue
        # The published code has no batch-norm where the report says "after the activation".
        untested = claim.batchnorm and any(
            candidates[key].config.model.batchnorm != as_meant[key].model.batchnorm
            for key in (claim.variant, claim.incumbent)
            if key in candidates
        )
        rows.append(
            {
                "the report's claim": claim.text,
                "published": _published_difference(claim),
                "here": f"{signed_points(d.difference)} {_span(d.low, d.high)}" if d else "not run",
                "verdict": claims.verdict(claim, d) if d and not untested else "no verdict",
                "why": "The published code inserts no batch-norm layer there: its networks do not test this claim."
                if untested
                else _why(study, claim, d),
            }
        )
    rows += [_slowdown(study, candidates), _contamination_claim(study)] if not stage else []
    if not rows:
        return Markdown("The report makes no claim on this stage that a comparison could test.")
    return table(
        rows,
        "Differences in points of test accuracy. Published: LFW-a, single runs. A verdict needs "
        f"{claims.FEWEST_SEEDS} seeds and a p-value below .05 after Holm's correction for {len(claims.CLAIMS)} "
        "comparisons; that something brings no gain is supported, too, where the interval ends below "
        f"{signed_points(claims.SMALLEST_GAIN)} points.",
        study,
    )


def inconsistencies(study):
    """The published rows that do not add up."""
    rows = [
        {"stage": stage, "variant": variant, "what": what}
        for stage, variant, what in claims.published_inconsistencies()
    ]
    return table(rows, "Published figures that do not add up, computed from the figures themselves.")


def measures(study, rungs):
    """ROC measures, calibration and thresholds of the best configuration, mean over its runs."""
    best = study.best(rungs)
    runs = [spec.run for spec in best.specs if study.store.is_finished(spec.run, with_test=True)] if best else []
    if not runs or study.correct(best) is None:
        return Markdown("The test pairs are not scored.")
    values = []
    for run in runs:
        scored, held = study.store.scores(run), study.store.scores(run, "val")
        label, score = scored["label"], scored["score_at_best"]
        threshold = metrics.best_threshold(held["label"], held["score_at_best"])
        values.append(
            [
                metrics.accuracy(label, score),
                metrics.accuracy(label, score, threshold),
                threshold,
                *metrics.rates(label, score),
                metrics.auc(label, score),
                metrics.equal_error_rate(label, score),
                metrics.true_accept_rate(label, score, 0.01),
                metrics.true_accept_rate(label, score, 0.001),
                metrics.calibration(label, score)[0],
            ]
        )
    mean = np.mean(values, axis=0)
    different = int((scored["label"] == 0).sum())
    names = (
        "accuracy at 0.5, %",
        "accuracy at the threshold chosen on validation, %",
        "that threshold",
        "true-positive rate, %",
        "true-negative rate, %",
        "area under the ROC curve",
        "equal error rate, %",
        "true accepts at 1 % false accepts, %",
        "true accepts at 0.1 % false accepts, %",
        "expected calibration error",
    )
    rows = [
        {"measure": name, "value": percent(v) if name.endswith("%") else f"{v:.3f}"} for name, v in zip(names, mean)
    ]
    return table(
        rows,
        f"The best configuration on the test pairs, at its best epoch. Among {different} mismatched pairs "
        f"0.1 % is {_allowed(different)} and 1 % is {_allowed(different, 0.01)}: the true accepts at 1 % are "
        "rough, those at 0.1 % rougher.",
        study,
    )


def roc_curves(study, rungs):
    """Labels and scores of the best configuration's runs, as plots.roc and plots.reliability want them."""
    best = study.best(rungs)
    scored = (
        [study.store.scores(spec.run) for spec in best.specs if study.store.is_finished(spec.run, with_test=True)]
        if best and study.correct(best) is not None
        else []
    )
    return [(s["label"], s["score_at_best"]) for s in scored]


def view2(study, rungs):
    """Mean and standard error over the ten folds, per variant."""
    if study.settings.protocol != "view2":
        return Markdown("Under View 1 there are no folds; `--protocol view2` trains anew for each of the ten.")
    rows = []
    for rung in rungs:
        for candidate in rung.candidates:
            folds = {}
            for spec in candidate.specs:
                if study.store.is_finished(spec.run, with_test=True):
                    folds.setdefault(spec.fold, []).append(study.store.result(spec.run)["test_accuracy_at_best"])
            if len(folds) == 10:
                mean, error = metrics.view2_estimate([np.mean(values) for values in folds.values()])
                rows.append(
                    {
                        "stage": rung.stage.id,
                        "variant": candidate.variant,
                        "accuracy ± standard error": f"{percent(mean, 2)} ± {percent(error, 2)}",
                        "folds": ", ".join(percent(np.mean(folds[n])) for n in sorted(folds)),
                    }
                )
    chosen = (
        ""
        if LADDERS[study.settings.ladder].has_path()
        else " The recipes were chosen on View 1's training people, who are among View 2's test people, as the protocol allows."
    )
    return table(
        rows,
        "View 2: mean and standard error over ten folds in percent, at a score of 0.5 as the network gives it; validation is "
        f"the fold after the tested one.{chosen}",
        study,
    )


def duplicates(study):
    """Near-duplicate pictures under two names, and the pairs they touch."""
    found = study.duplicates()
    sides = near.images_by_set(study.widest_pairs())

    def side(image):
        return {"train": "training", "val": "validation", "test": "test"}.get(
            next((name for name, images in sides.items() if image in images), ""), "in no pair"
        )

    rows = [
        {
            "image": d.left,
            "looks like": d.right,
            "correlation": f"{d.correlation:.3f}",
            "sides": f"{side(d.left)} | {side(d.right)}",
        }
        for d in found
        if d.two_names()
    ]
    if not rows:
        return Markdown("No photograph is filed under two names.")
    return table(
        rows,
        "Images whose centres correlate above "
        f"{near.SAME_PHOTOGRAPH:g} though they are filed under two names, and the side that each is on, training people's "
        "images that no pair names included. Nothing is dropped.",
        study,
    )


def odd_pairs(study):
    """Pairs that near-duplicates touch."""
    pairs = study.data(study.base().data)[1]
    parts = pairs.sets()
    rows = [
        {
            "set": o.set,
            "line": int(parts[o.set].line[o.row]),
            "left": parts[o.set].left[o.row],
            "right": parts[o.set].right[o.row],
            "why": o.why,
        }
        for o in study.odd_pairs()
    ]
    if not rows:
        return Markdown("No pair is touched by a near-duplicate.")
    return table(rows, "Pairs that are odd by their pictures alone; they stay in.", study)


def without_odd_pairs(study, rungs):
    """Test accuracy of the best configuration with and without the pairs that look odd or mislabelled."""
    best = study.best(rungs)
    correct = study.correct(best) if best else None
    if correct is None:
        return Markdown("The test pairs are not scored.")
    if study.settings.protocol != "view1":
        return Markdown("Odd pairs are looked for under View 1.")
    parts = study.data(best.specs[0].config.data)[1].sets()
    odd = list(study.odd_pairs())
    for part in parts:
        scored = study.store.predictions(best.specs[0].run, part)
        odd += near.confident_errors(part, scored["label"], scored["score_at_best"])
    keep = np.ones(correct.shape[1], bool)
    keep[[o.row for o in odd if o.set == "test"]] = False
    rows = [
        {
            "set": o.set,
            "line": int(parts[o.set].line[o.row]),
            "left": parts[o.set].left[o.row],
            "right": parts[o.set].right[o.row],
            "why": o.why,
        }
        for o in odd
    ]
    return table(
        rows or [{"set": "", "line": "", "left": "", "right": "", "why": "none"}],
        f"Pairs that look odd or mislabelled, by their pictures or by the network's surest errors. Test accuracy with them {percent(correct.mean())} %, without the "
        f"{int((~keep).sum())} of them {percent(correct[:, keep].mean())} %. Leaving out a network's surest errors "
        "always raises its figure; the figure with them is the one that counts.",
        study,
    )


def ensemble(study, rungs):
    """Test accuracy of the seeds' mean, for the best configuration of each class of pictures trained on."""
    best = {rung.after.config.data.pictures: rung.after for rung in rungs if rung.after}
    rows = []
    for pictures, candidate in best.items():
        scored = study.test_scores(candidate)
        if scored is None or len(scored[0]) < 2:
            continue
        together, labels = metrics.ensemble(scored[0]), scored[1]
        singles = [metrics.accuracy(labels, one) for one in scored[0]]
        right = (together > 0.5) == (labels > 0.5)
        low, high = intervals.mean_interval(right[None], study.test_components())
        rows.append(
            {
                "trained on": PICTURE_CLASSES[pictures],
                "configuration": f"{candidate.stage}: {candidate.variant}",
                "networks": len(scored[0]),
                "one network": f"{percent(np.mean(singles))} ({percent(min(singles))} to {percent(max(singles))})",
                "all together": f"{percent(right.mean())} [{percent(low)}, {percent(high)}]",
                "AUC": f"{metrics.auc(labels, together):.3f}",
            }
        )
    if not rows:
        return Markdown(
            "Several seeds of the best configuration can be averaged; here there is one: `--seeds 5` adds more."
        )
    return table(
        rows,
        "Test accuracy in percent at the best epochs: one network on average (lowest to highest), and the mean "
        "of the networks' logits. Intervals: 95 %, bootstrap over connected components of people.",
        study,
    )


def left_out(study, rungs):
    """What each factor of the ladder beyond is worth: the whole recipe against the recipe without it."""
    if study.settings.ladder != "beyond":
        return Markdown("")
    rung = next((r for r in rungs if r.stage.id == "leave-one-out"), None)
    scored = [(c, study.correct(c)) for c in rung.candidates] if rung else []
    known = [(c, correct) for c, correct in scored if correct is not None]
    if len(known) < 2 or known[0][0].variant != "whole":
        return Markdown(
            "The stage `leave-one-out` of the ladder beyond shows what the whole recipe loses without each factor."
        )
    (whole, best), others = known[0], known[1:]
    found = intervals.compare([(best, correct) for _, correct in others], study.test_components(), len(others))
    titles = {v.id: v.title for v in rung.stage.variants}
    rows = [
        {
            "left out": c.variant.removeprefix("without-"),
            "instead": titles[c.variant],
            "accuracy": percent(correct.mean()),
            "AUC": _mean_auc(study, c),
            "worth": signed_points(d.difference),
            "95 % interval": _span(d.low, d.high),
            f"p, corrected for {len(others)}": _p(d.corrected_p) if d.seeds > 1 else "",
        }
        for (c, correct), d in zip(others, found)
    ]
    return table(
        rows,
        f"Test accuracy in percent at the best epochs, {len(best)} seed{'s' if len(best) > 1 else ''}; with everything, "
        f"{whole.variant}, it is {percent(best.mean())}, the AUC {_mean_auc(study, whole)}. Every head's scores are "
        "calibrated on validation. Worth: points that the recipe has more with the factor than "
        "without it. Intervals: bootstrap over seeds and over connected components of people.",
        study,
    )


def time_points(study, rungs):
    """Accuracy against training seconds: dicts of label, seconds, accuracy, published and carried (bool); means over seeds."""
    points = []
    for rung in rungs:
        if rung.stage.id == "leave-one-out":  # has a table of its own
            continue
        for variant, candidate in zip(rung.stage.variants, rung.candidates):
            results = finished_results(study, candidate)
            accuracy = mean_accuracy(study, candidate, "score_at_best")
            if accuracy is not None and np.isfinite(accuracy):
                points.append(
                    {
                        "label": f"{rung.stage.id}: {candidate.variant}",
                        "accuracy": accuracy,
                        "published": False,
                        "seconds": mean_of(results, "seconds_total"),
                        "carried": rung.carries(candidate.variant),
                    }
                )
    return points + report_points()


def report_points():
    """The report's own figures as `time_points` has them."""
    return [
        {"label": stage.id, "seconds": p.seconds_total, "accuracy": p.accuracy, "published": True}
        for stage in REPORT.stages
        for p in {v.published for v in stage.variants}
        if p and p.seconds_total
    ]


def contamination(study):
    """Validation minus test accuracy of the base network under person-disjoint and contaminated splits."""
    if not LADDERS[study.settings.ladder].has_path():
        return Markdown("The base network of the report's ladder tells what shared people are worth.")
    found = measured_contamination(study)
    if len(found["splits"]) < 2:
        return Markdown(
            "To see what shared people are worth, add the base stage under another split to this study: "
            "`lfwstudy run --split random --stages base` with the same other options."
        )
    rows = [
        {
            "split": split,
            "validation pairs with a person of the training side": f"{s['touched']} of {s['pairs']}",
            "validation": percent(s["validation"]),
            "test": percent(s["test"]),
            "validation minus test": f"{signed_points(s['gap'][0])} {_span(*s['gap'][1:])}",
            "seeds": s["seeds"],
        }
        for split, s in found["splits"].items()
    ]
    return table(
        rows,
        f"The base network at its best epoch, in percent. {wider_gap(found)} Intervals: 95 %, bootstrap over "
        "connected components of people and over seeds. The best epoch is chosen on validation, which by itself "
        "raises validation a little under every split.",
        study,
    )


def measured_contamination(study):
    """What shared people are worth, JSON-ready: `splits`, by name, and `wider`, the gap under `random` minus that under
    `components` with its interval, None where one of them is missing. Shares in 0..1, at the best epochs."""
    splits, gaps, audits = {}, {}, study.audits()
    for other in study.combinations():
        split, key = other.settings.split, (other.settings.protocol, other.settings.ladder)
        rungs = other.climb(upto="base") if key == ("view1", study.settings.ladder) and split not in gaps else []
        correct = other.correct(rungs[0].candidates[0]) if rungs else None
        if correct is None:
            continue
        validation, components = other.validation_correct(rungs[0].candidates[0])
        gap = gaps[split] = intervals.gap(validation, components, correct, other.test_components())
        splits[split] = {
            "touched": audits[split]["touched_pairs"],
            "pairs": audits[split]["validation_pairs"],
            "validation": float(validation.mean()),
            "test": float(correct.mean()),
            "seeds": len(correct),
            "gap": [gap.difference, gap.low, gap.high],
        }
    both = {"random", "components"} <= set(gaps)
    return {
        "splits": splits,
        "wider": [float(v) for v in intervals.difference_of_gaps(gaps["random"], gaps["components"])] if both else None,
    }


def wider_gap(found):
    """In a sentence: by how much the gap is wider where people are shared; empty where that was not measured."""
    if not found["wider"]:
        return ""
    return f"The gap under `random` is {signed_points(found['wider'][0])} points {_span(*found['wider'][1:])} wider than under `components`."


def audit_of_random(study):
    """How much 50 random splits share, as a sentence."""
    found = study.random_audits()
    if not found:
        return Markdown("")

    def span(shared, total):
        shares = [100 * a[shared] / a[total] for a in found]
        return f"{np.mean(shares):.0f} % ({min(shares):.0f} to {max(shares):.0f})"

    return Markdown(
        f"Over {len(found)} random splits, {span('shared_people', 'validation_people')} of the validation people, "
        f"{span('shared_images', 'validation_images')} of the pictures are in training too, and "
        f"{span('touched_pairs', 'validation_pairs')} of the validation pairs are touched."
    )


def replicates(study):
    """Which published runs are of one network, how far they spread, and whether a published gain is outside that spread."""
    if not LADDERS[study.settings.ladder].has_path():
        return Markdown("")
    found = claims.replicates()
    best = max(v.published.accuracy for s in REPORT.stages for v in s.variants if v.published)
    away = (best - found.mean) / found.deviation
    names = ", ".join(f"`{stage}: {variant}` {percent(accuracy)}" for (stage, variant), accuracy in found.runs)
    return Markdown(
        f'**Replicates.** The published code inserts no batch-norm layer "after activation", so {len(found.runs)} of its runs are of '
        f"one network: {names} % (mean {percent(found.mean)}, standard deviation {percent(found.deviation)} points). The best "
        f"published figure, {percent(best)} %, is {away:.1f} standard deviations above their mean: "
        + (
            "no published gain is outside what repeating one training does."
            if away < 2
            else "that is outside their spread."
        )
        + _replicated_here(study, found)
    )


def _replicated_here(study, found):
    """The same variants' test accuracy here, and on which images; empty where fewer than two are finished or none is of the ladder."""
    if study.settings.ladder != "published" or is_demo(study):
        return ""
    mine = [
        accuracy
        for rung in study.climb()
        for c in rung.candidates
        if (c.stage, c.variant) in dict(found.runs) and (accuracy := mean_accuracy(study, c, "score")) is not None
    ]
    if len(mine) < 2:
        return ""
    images = (
        "the same images"
        if study.settings.dataset == "lfw-a"
        else f"other images, {study.settings.dataset} in place of LFW-a"
    )
    return f" Here, on {images}, these variants reach {percent(np.mean(mine))} % on average ({', '.join(map(percent, mine))})."


def clock(study, rungs):
    """In two sentences: what the total validation loss followed, and when stopping acted that watched it or the network."""
    candidates = {(r.stage.id, c.variant): c for r in rungs for c in r.candidates}
    base = study.store.history(candidates["base", "base"].specs[0].run) if ("base", "base") in candidates else []
    base = [row for row in base if np.isfinite([row["val_loss"], row.get("head_penalty", np.nan)]).all()]
    if len(base) < 2 or not base[0]["head_penalty"] > 0:
        return Markdown("")
    start = base[min(reproduction.FROM_EPOCH, len(base) - 1) - 1]
    fall, of_head = (start[key] - base[-1][key] for key in ("val_loss", "head_penalty"))
    lowest = min(base, key=lambda row: row["val_cross_entropy"])["epoch"]
    follows = abs(of_head - fall) < 0.25 * abs(fall)
    told = (
        f"{'**A clock.** ' if follows else ''}From epoch {start['epoch']} to {base[-1]['epoch']} the total validation loss of `base` falls "
        f"by {fall:.1f}, and the penalty of its last unit by {of_head:.1f}"
        + (
            ", since Adam moves each of that unit's weights by at most the learning rate a step, whatever the network learns"
            if follows
            else ""
        )
        + f"; the validation cross-entropy was lowest at epoch {lowest}."
    )
    ends = []
    for variant, watches in (("patience5", "the total loss"), ("patience5-cross-entropy", "the cross-entropy alone")):
        if (c := candidates.get(("early-stopping", variant))) and study.store.is_finished(c.specs[0].run):
            rows, training = study.store.history(c.specs[0].run), c.specs[0].config.training
            ends.append(
                f"on {watches} it "
                + (
                    "diverged"
                    if diverged(rows)
                    else f"stops at epoch {len(rows)}"
                    if should_stop(rows, training)
                    else f"never acts in {training.epochs} epochs"
                )
            )
    if ends:
        told += f" Early stopping with a patience of {training.patience}: {', '.join(ends)}."
    return Markdown(told)


def reproduced(study, rungs):
    """The published histories beside those of the ladder that does what the published code did, and whether they agree."""
    if study.settings.ladder != "published":
        return Markdown(
            "The ladder `published` does what the report's code did, and is compared with its histories epoch by epoch."
        )
    factor = PROFILES[study.settings.profile].factor
    if factor != 1 or is_demo(study):
        return Markdown(
            f"{'Drawn faces' if is_demo(study) else f'Epochs times {factor:g}'}: the published histories are compared epoch "
            "by epoch in the profile `report` and on LFW only. Each stage's figure has their curves underneath."
        )
    rows = reproduction.rows(
        {
            (c.stage, c.variant): (study.store.history(c.specs[0].run), study.store.is_finished(c.specs[0].run))
            for rung in rungs
            for c in rung.candidates
        }
    )
    return (
        table(rows, f"{reproduction.CAPTION} Here the first seed of each variant.", study)
        if rows
        else Markdown("No run is long enough to be compared.")
    )


def _mean_auc(study, candidate):
    scores, labels = study.test_scores(candidate)
    return f"{np.mean([metrics.auc(labels, one) for one in scores]):.3f}"


def _along_the_reports_path(study):
    """The combination of the same folder that follows the report's own choices, None where there is none."""
    s = study.settings
    return next(
        (
            other
            for other in study.combinations()
            if other.settings.select == "report"
            and (other.settings.ladder, other.settings.protocol, other.settings.split)
            == (s.ladder, s.protocol, s.split)
        ),
        None,
    )


def _published_difference(claim):
    a, b = (claims.published(*key) for key in (claim.variant, claim.incumbent))
    return signed_points(a.accuracy - b.accuracy) if a and b else "no figure"


def _why(study, claim, found):
    if found is None:
        return " ".join(["One of the two is not finished with scored test pairs.", claim.note]).strip()
    reasons = []
    if found.seeds < claims.FEWEST_SEEDS:
        reasons.append(
            f"{found.seeds} run{'s' if found.seeds > 1 else ''} of each: the spread between seeds is not known "
            f"well enough; at least {claims.FEWEST_SEEDS - found.seeds} more seeds."
        )
    else:
        reasons.append(f"{found.word}, corrected p {_p(found.corrected_p)}, {found.seeds} seeds.")
        if found.word == "inside the noise":
            needed = intervals.seeds_needed(found, len(claims.CLAIMS))
            reasons.append(
                f"If the difference stayed, {needed - found.seeds} more seeds would show it."
                if needed and needed > found.seeds
                else "With these test pairs no number of seeds would show a difference this small."
            )
    if claims.replicates().include(claim):
        reasons.append("The two published figures are of one network, trained twice.")
    return " ".join([*reasons, claim.note]).strip()


def _slowdown(study, candidates):
    keys = (("batchnorm", "before-activation"), ("early-stopping", "patience5"))
    published = [claims.published(*key) for key in keys]
    told = published[0].seconds_total / published[0].epochs / (published[1].seconds_total / published[1].epochs)
    found = [finished_results(study, candidates[key]) if key in candidates else [] for key in keys]
    here = mean_of(found[0], "seconds_per_epoch") / mean_of(found[1], "seconds_per_epoch") if all(found) else None
    return {
        "the report's claim": "Batch-norm makes training only a little slower",
        "published": f"× {told:.2f} (total time / epochs)",
        "here": f"× {here:.2f}" if here else "not run",
        "verdict": "no verdict",
        "why": "Seconds per epoch, before the activation against none; another machine, and "
        "other work on it is not controlled.",
    }


def _contamination_claim(study):
    audits = study.audits()
    sequential = audits.get("sequential")
    if sequential is None:
        return {
            "the report's claim": "No person is on both sides of the split",
            "published": "",
            "here": "not run",
            "verdict": "no verdict",
            "why": "",
        }
    return {
        "the report's claim": "No person is on both sides of the split",
        "published": "0 people",
        "here": f"{sequential['shared_people']} of {sequential['validation_people']} people",
        "verdict": "contradicted" if sequential["shared_people"] else "supported",
        "why": "Counted on the split that its published code makes: the first fifth of the matched and of the "
        "mismatched pairs.",
    }


def _allowed(different, share=0.001):
    count = int(np.floor(share * different + 1e-9))
    return "no pair at all" if count == 0 else f"{count} pair{'s' if count > 1 else ''}"


def _span(low, high):
    return f"[{signed_points(low)},\u00a0{signed_points(high)}]"


def _p(value):
    return f"{value:.3f}" if value >= 0.001 else "<\u00a0.001"
