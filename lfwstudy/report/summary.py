"""Findings in sentences: of a stage, of the whole study, and the data behind them."""

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.display import HTML

from lfwstudy.ladder import FIGURES, PROFILES
from lfwstudy.ladder.claims import FEWEST_SEEDS
from lfwstudy.report.measured import accuracy_with_interval, best_candidate, finished_results
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.report.wording import Text, counted, is_demo, seeds_in_words, shows_published, source_line
from lfwstudy.system.text import clock, percent

if TYPE_CHECKING:
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Candidate, Rung
    from lfwstudy.study.study import Study


def gap(study: "Results", rung: "Rung") -> HTML:
    """What a stage lacks and why; nothing if it is complete. HTML, not Markdown: the end of a log may hold anything."""
    if rung.complete() and not rung.failures:
        return HTML("")
    return HTML(f'<p class="gap">Not finished: {html.escape(study.why_incomplete(rung).rstrip("."))}.</p>')


def outcome(study: "Results", rung: "Rung") -> Text:
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
            f"The best variant, **{best.variant}**, reaches a validation accuracy of {percent(_accuracy(best))} %, "
            f"{_gain(_accuracy(best) - _accuracy(before))} that of the incumbent "
            f"({before.stage}: {before.variant}, {percent(_accuracy(before))} %). {_carried(study, rung, rung.after, before)}"
        )
    else:
        told = "Every run of this stage diverged; the incumbent stays."
    return Text(f"{told} {_caution(study, rung, rung.after)}")


def headline(study: "Results", rungs: "Sequence[Rung]") -> Text:
    """The answer in a sentence: the best configuration by validation, and its test accuracy with the evaluated weights."""
    best = study.best(rungs)
    if best is None:
        return Text("No stage is finished yet.")
    name = f"The best configuration by validation, **{best.stage}: {best.variant}**, classifies"
    measured = accuracy_with_interval(study, best)
    if isinstance(measured, str):
        return Text(
            f"{name} {percent(_accuracy(best))} % of the validation pairs correctly; on the test pairs: {measured}."
        )
    value = measured.value if isinstance(measured, Interval) else measured
    told = f"{name} **{percent(value)} %** of the test pairs correctly"
    if isinstance(measured, Interval):
        told += f" (95 % interval: {percent(measured.low)} to {percent(measured.high)} %)"
    return Text(f"{told}.")


def caveats(study: "Results", best: "Candidate | None") -> Text:
    """Limits of the answer about the best configuration: images, seeds and profile, a line each."""
    return Text("\n".join(f"- {told}" for told in (_images(study), _seeds(study, best), _profile(study))))


def stage_links(study: "Results") -> Text:
    """Links to the stages' pages, which the rendered report resolves."""
    return Text("Stages: " + " · ".join(f"[{name}](#stage-{name})" for name in study.stages()))


def best_published() -> float:
    """The highest test accuracy that the report prints."""
    return max(printed.accuracy for printed in FIGURES.values())


def reservations(study: "Results") -> Text:
    """What to keep in mind when reading the figures: a list."""
    told = [
        "Whom these people represent, and how well, the study cannot know."
        if study.of_other_people
        else "LFW shows press photographs, with few children, elderly people, women and minorities. Its authors warn against using "
        "verification figures to vet commercial systems."
    ]
    if study.ladder.has_path():
        chosen = (
            "Test pairs choose nothing here."
            if study.settings.select == "validation"
            else "Following its choices inherits that; otherwise test pairs choose nothing here."
        )
        published = (
            "Published figures were measured on LFW-a with one run each, and the report chose several stages by test accuracy. "
            f"{chosen}"
        )
        told = [
            "For over a hundred epochs the total loss, which stopping and checkpoints watch, is mostly the penalty of the last "
            "unit's weights: they follow the penalty, not the learning. `early-stopping: patience5-cross-entropy` watches the "
            "learning.",
            "The `stride` stage is never carried forward: its network is several times larger and slower.",
            *([published] if shows_published(study) else []),
            *told,
        ]
    return Text("\n".join(f"- {text}" for text in told))


def made_from(study: "Study", rungs: "Sequence[Rung]") -> Table:
    """Data, profile, seeds, versions, machine and time behind the figures."""
    runs = [s.run for rung in rungs for c in rung.candidates for s in c.specs if study.store.is_finished(s.run)]
    records = {run: study.store.record(run) for run in runs}
    if not records:
        return Table.nothing("No run is finished yet.")
    results = [result for _, result in records.values()]
    data, s = study.first().data, study.settings
    pairs = [f"{len(study.store.scores(runs[0], part)['label']):,}" for part in ("train", "val", "test")]
    bank = None if study.why_no_images else study.data(data)[0]
    number = f"{len(bank):,}, " if bank else ""
    rows = {
        "images": f"{study.title}: {number}crop {data.crop}, side {data.side}, {data.filter} filter",
        **({"notes on the images": "; ".join(bank.notes) or "none"} if bank else {}),
        "pairs": "{} training, {} validation, {} test".format(*pairs),
        "data digest": records[runs[0]][0]["data_digest"][:16],
        "split": s.split if s.protocol == "view1" else "the ten folds of pairs.txt",
        "selection": s.select,
        "profile": f"{s.profile}: {PROFILES[s.profile].title}",
        "seeds": seeds_in_words(study),
        "precision of the convolutions": study.precision,
        "runs": f"{len(records)} different, {len(runs)} rows",
        "machine": "; ".join(sorted({r["device"] for r in results})),
        "backend": "; ".join(sorted({r["backend"] for r in results})),
        "versions": ", ".join(sorted({f"{name} {v}" for r in results for name, v in r["versions"].items()})),
        "total training time": clock(sum(r["seconds_total"] for r in results)),
    }
    return Table(
        [Column(""), Column("value")],
        [{"": what, "value": value} for what, value in rows.items()],
        "The data behind the figures.",
        source_line(study),
    )


def _images(study: "Results") -> str:
    told = f"**Images:** {study.title}"
    if is_demo(study) or study.of_other_people:
        return f"{told}. No figure here is comparable with one on {'photographs' if is_demo(study) else 'LFW'}."
    if study.settings.dataset.startswith("lfw"):
        told += ": press photographs, not a sample of all people"
    if not study.ladder.has_path():
        return f"{told}."
    others = "the same images" if study.settings.dataset == "lfw-a" else "other images"
    return f"{told}. The report's best, {percent(best_published())} %, is one run on LFW-a: {others}."


def _seeds(study: "Results", best: "Candidate | None") -> str:
    folds, runs = len(study.folds()), len(finished_results(study, best)) if best else 0
    if folds > 1:
        return f"**Runs:** {runs} of the best configuration, on {folds} folds."
    told = f"**Seeds:** {counted(runs, 'run')} of the best configuration. The interval "
    told += "leaves out the spread between seeds" if runs < 2 else "includes the spread between seeds"
    fewest = study.seeds()
    if fewest >= FEWEST_SEEDS:
        return f"{told}."
    others = f", and variants with {counted(fewest, 'seed')}" if runs != fewest else ", and differences"
    return f"{told}{others} get no verdict: that takes at least {FEWEST_SEEDS} seeds."


def _profile(study: "Results") -> str:
    profile, ladder = PROFILES[study.settings.profile], study.ladder
    if profile.factor_for(ladder) < 1:
        return f"**Profile:** {profile.name}, {profile.title}. Training in full may rank the variants otherwise."
    return f"**Profile:** {profile.name}, {profile.title if profile.factor == 1 else 'with the epochs written for this ladder'}."


def _accuracy(candidate: "Candidate") -> float:
    """The validation accuracy that a candidate is chosen by."""
    return candidate.score[0] if candidate.score else math.nan


def _carried(study: "Results", rung: "Rung", after: "Candidate", before: "Candidate") -> str:
    tied = _tie(rung, after)
    if (after.stage, after.variant) == (before.stage, before.variant):
        if not rung.stage.carry:
            return "By design, this stage is never carried forward: its network is several times larger and slower."
        if study.settings.select == "report":
            return "The incumbent stays, as in the report."
        told = "The incumbent stays: no variant is better on validation"
        return f"{told} (at the same accuracy as {tied[0]}, {tied[1]} decided)." if tied else f"{told}."
    if study.settings.select == "report":
        return f"**{after.variant}** is carried forward, as in the report."
    if not tied:
        return f"**{after.variant}** is carried forward, for its validation accuracy."
    why = "for its lower cross-entropy" if tied[1] == "cross-entropy" else f"by {tied[1]}"
    return f"**{after.variant}** ties with {tied[0]} on accuracy and is carried forward {why}."


def _gain(gain: float) -> str:
    """How a validation accuracy compares with another's."""
    if gain == 0:
        return "the same as"
    size = percent(abs(gain))
    return f"{'less than 0.1' if size == '0.0' else size} points {'above' if gain > 0 else 'below'}"


def _tie(rung: "Rung", chosen: "Candidate") -> tuple[str, str] | None:
    """Who has the validation accuracy of the one carried forward, and what decided between them; None if nobody has."""
    others = [
        c for c in (rung.before, *rung.candidates) if c and (c.stage, c.variant) != (chosen.stage, chosen.variant)
    ]
    tied = [c for c in others if _accuracy(c) == _accuracy(chosen)]
    if not tied:
        return None
    names = " and ".join("the incumbent" if c is rung.before else f"`{c.variant}`" for c in tied)
    decided = (
        "cross-entropy"
        if all((c.score or ())[1:] < (chosen.score or ())[1:] for c in tied)
        else "cross-entropy and order"
    )
    return names, decided


def _caution(study: "Results", rung: "Rung", after: "Candidate") -> str:
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
