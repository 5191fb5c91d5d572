"""Findings in sentences: of a stage, of the whole study, and the data behind them."""

import html
import math
from collections.abc import Sequence

from IPython.display import HTML

from lfwstudy.ladder import FIGURES, PROFILES
from lfwstudy.ladder.claims import FEWEST_SEEDS
from lfwstudy.report.measured import accuracy_with_interval, best_candidate, finished_results, nothing_finished
from lfwstudy.report.table import Table
from lfwstudy.report.wording import Text, counted, is_demo, is_lfw, shows_published, source_line
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Rung
from lfwstudy.study.study import Study
from lfwstudy.system.text import clock, percent

# Resampling fewer groups gives intervals that are too short (Cameron, Gelbach and Miller 2008).
_FEW_GROUPS = 30


def gap(study: Results, rung: Rung) -> HTML:
    """What a stage lacks and why; nothing if it is complete. HTML, not Markdown: the end of a log may hold anything."""
    if rung.complete() and not rung.failures:
        return HTML("")
    return HTML(f'<p class="gap">Not finished: {html.escape(study.why_incomplete(rung).rstrip("."))}.</p>')


def outcome(study: Results, rung: Rung) -> Text:
    """What a stage found on validation, what is carried forward, and the gain."""
    if not any(c.score for c in rung.candidates) or (rung.after is None and not rung.complete()):
        return Text("")
    if rung.after is None:
        return Text("Every run of this stage diverged; nothing is carried forward.")
    if rung.before is None:
        reached = percent(_accuracy(rung.after))
        told = f"The base network reaches a validation accuracy of {reached} % at its best epoch. Later stages start from it."
    elif best := best_candidate(rung):
        before = rung.before
        told = (
            f"The best variant, **{best.variant}**, reaches a validation accuracy of {percent(_accuracy(best))} %; the incumbent, "
            f"{before}, has {percent(_accuracy(before))} %. {_carried(study, rung, rung.after, before)}"
        )
    else:
        told = "Every run of this stage diverged; the incumbent stays."
    return Text(f"{told} {_caution(study, rung, rung.after)}")


def headline(study: Results, rungs: Sequence[Rung]) -> Text:
    """The answer in a sentence: the best configuration by validation, and its test accuracy with the evaluated weights."""
    best = study.best(rungs)
    if best is None:
        return Text(nothing_finished(study, rungs))
    told = f"The best configuration by validation, **{best}**, classifies"
    measured = accuracy_with_interval(study, best)
    if isinstance(measured, str):
        return Text(
            f"{told} {percent(_accuracy(best))} % of the validation pairs correctly; on the test pairs: {measured}."
        )
    span = f"{percent(measured.low)} to {percent(measured.high)} %"
    return Text(f"{told} **{percent(measured.value)} %** of the test pairs correctly (95 % interval: {span}).")


def caveats(study: Results, best: Candidate | None) -> Text:
    """Limits of the answer about the best configuration: images, seeds and profile, a line each."""
    return Text("\n".join(f"- {told}" for told in (_images(study, best), _seeds(study, best), _profile(study))))


def stage_links(study: Results) -> Text:
    """Links to the stages' pages, which the rendered report resolves."""
    return Text("Stages: " + " · ".join(f"[{name}](#stage-{name})" for name in study.stages()))


def best_published() -> float:
    """The highest test accuracy that the report prints."""
    return max(printed.accuracy for printed in FIGURES.values())


def reservations(study: Results) -> Text:
    """What to keep in mind when reading the figures: a list."""
    told, stages = [], study.stages()
    if study.ladder.has_path():
        watches = " `early-stopping: patience5-cross-entropy` watches the cross-entropy instead."
        told.append(
            "The total loss, which stopping and checkpoints watch, is mostly the penalty on the last unit's weights: they follow "
            f"the penalty, not the learning.{watches if 'early-stopping' in stages else ''}"
        )
        if "stride" in stages:
            told.append("The `stride` stage is never carried forward: its network is several times larger and slower.")
    if shows_published(study):
        inherits = "Following its choices inherits that. " if study.settings.select == "report" else ""
        told.append(
            "Published figures were measured on LFW-a with one run each, and the report chose several stages by test accuracy. "
            f"{inherits}Test pairs choose nothing {'else ' if inherits else ''}here."
        )
    if is_lfw(study):
        told.append(
            "LFW shows press photographs, with few children, elderly people, women and minorities. Its authors warn against "
            "using verification figures to vet commercial systems."
        )
    elif not is_demo(study):
        told.append("The study cannot know whom these people represent, or how well.")
    return Text("\n".join(f"- {text}" for text in told))


def made_from(study: Study, rungs: Sequence[Rung]) -> Table:
    """Data, profile, seeds, versions, machine and time behind the figures."""
    runs = [s.run for rung in rungs for s in rung.specs() if study.store.is_finished(s.run)]
    if not runs:
        return Table(empty=nothing_finished(study, ()))
    results = [study.store.record(run)[1] for run in dict.fromkeys(runs)]
    data, s = study.first().data, study.settings
    pairs = [f"{len(study.store.scores(runs[0], part)['label']):,}" for part in ("train", "val", "test")]
    bank = None if study.why_no_images else study.data(data)[0]
    number = f"{len(bank):,}, " if bank else ""
    rows = {
        "images": f"{study.title}: {number}crop {data.crop}, side {data.side}, {data.filter} filter",
        "notes on the images": ("; ".join(bank.notes) or "none") if bank else None,
        "pairs": "{} training, {} validation, {} test".format(*pairs),
        "data digest": study.store.record(runs[0])[0]["data_digest"][:16],
        "selection": s.select,
        "runs": f"{len(results)}, in {len(runs)} rows of results.csv",
        "machine": "; ".join(sorted({r["device"] for r in results})),
        "backend": "; ".join(sorted({r["backend"] for r in results})),
        "versions": ", ".join(sorted({f"{name} {v}" for r in results for name, v in r["versions"].items()})),
        "total training time": clock(sum(r["seconds_total"] for r in results)),
    }
    shown = [{"": what, "value": value} for what, value in rows.items() if value]
    return Table(rows=shown, caption="The data behind the figures.", source=source_line(study))


def _images(study: Results, best: Candidate | None) -> str:
    told = f"**Images:** {study.title}"
    if is_demo(study):
        return f"{told}. No figure here is comparable with one on LFW."
    if study.of_other_people:
        if best is None or study.correct(best, "score") is None:
            return f"{told}."
        components = study.test_components()
        groups = len(set(components))
        few = ": so few that intervals are likely too narrow" if groups < _FEW_GROUPS else ""
        return f"{told}, {len(components):,} test pairs in {groups} groups that share nobody{few}."
    told += ": press photographs, not a sample of all people"
    if not shows_published(study):
        return f"{told}."
    others = "the same images" if study.settings.dataset == "lfw-a" else "other images"
    return f"{told}. The report's best, {percent(best_published())} %, is one run on LFW-a: {others}."


def _seeds(study: Results, best: Candidate | None) -> str:
    folds, runs = len(study.folds()), len(finished_results(study, best)) if best else 0
    if folds > 1:
        return f"**Runs:** {runs} of the best configuration, on {folds} folds."
    told = f"**Seeds:** {counted(runs, 'run')} of the best configuration. The interval "
    told += "leaves out the spread between seeds" if runs < 2 else "includes the spread between seeds"
    fewest = study.seeds()
    if fewest >= FEWEST_SEEDS:
        return f"{told}."
    others = f"variants with {counted(fewest, 'seed')}" if runs != fewest else "differences"
    return f"{told}, and {others} get no verdict: that takes at least {FEWEST_SEEDS} seeds."


def _profile(study: Results) -> str:
    profile, ladder = PROFILES[study.settings.profile], study.ladder
    if profile.factor_for(ladder) < 1:
        return f"**Profile:** {profile.name}, {profile.title}. Training in full may rank the variants differently."
    return f"**Profile:** {profile.name}, {profile.title if profile.factor == 1 else 'with the epochs written for this ladder'}."


def _accuracy(candidate: Candidate) -> float:
    """The validation accuracy that a candidate is chosen by."""
    return candidate.score[0] if candidate.score else math.nan


def _carried(study: Results, rung: Rung, after: Candidate, before: Candidate) -> str:
    """What is carried forward, and why: ties on accuracy are broken by cross-entropy, then by order."""
    stays = after.key == before.key
    if stays and not rung.stage.carry:
        return "By design, this stage is never carried forward."
    told = "The incumbent stays" if stays else f"**{after.variant}** is carried forward"
    if study.settings.select == "report":
        return f"{told}: this ladder follows the report's choices."
    others = {"the incumbent": before} | {f"`{c.variant}`": c for c in rung.candidates}
    tied = {name: c for name, c in others.items() if c.config != after.config and _accuracy(c) == _accuracy(after)}
    if not tied:
        why = "no variant is better on validation" if stays else "its validation accuracy is the highest"
        return f"{told}: {why}."
    lower = all((c.score or ())[1:] < (after.score or ())[1:] for c in tied.values())
    decides = "its lower cross-entropy" if lower else "the order"
    return f"{told}: at the same accuracy as {' and '.join(tied)}, {decides} decides."


def _caution(study: Results, rung: Rung, after: Candidate) -> str:
    runs = study.seeds_of(rung.stage) * len(study.folds())
    count = f"{'one run' if runs == 1 else f'{runs} runs'} of each variant."
    accuracy = max(_accuracy(c if c.score else after) for c in rung.candidates)
    scored = next((s.run for c in rung.candidates for s in c.specs if study.store.is_finished(s.run)), None)
    if scored is None or not 0 < accuracy < 1:
        return f"This is {count}"
    pairs = len(study.store.scores(scored, "val")["label"])
    return (
        f"With {counted(pairs, 'validation pair')}, one standard error of an accuracy of {percent(accuracy)} % is "
        f"{percent(math.sqrt(accuracy * (1 - accuracy) / pairs))} points, and this is {count}"
    )
