"""What does the reader see in words and tables? HTML tables and sentences computed from finished runs."""

import html
import re

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display

from lfwstudy.data.pairs import person_of
from lfwstudy.data.registry import DATASETS
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.ladder import LADDERS, PROFILES, REPORT, get_ladder, get_stage, reproduction, scale
from lfwstudy.system.text import clock, percent
from lfwstudy.training.augment import clip_labels
from lfwstudy.training.decisions import evaluated_epoch, should_stop

_WORDS = {
    "data.crop": "central crop in pixels",
    "data.side": "picture side in pixels",
    "data.filter": "resize filter",
    "data.pairs_per_class": "development pairs per class, at most",
    "data.split": "split",
    "data.split_seed": "seed of the split",
    "data.fold": "held-out fold",
    "model.pool1_stride": "stride of the first pooling",
    "model.batchnorm": "batch-norm placement",
    "model.width": "width of the network",
    "model.l2": "L2 penalty",
    "model.head_l2": "L2 penalty of the last unit",
    "model.initializer": "initialisation",
    "training.epochs": "epochs at most",
    "training.batch_size": "pairs per batch",
    "training.learning_rate": "learning rate",
    "training.patience": "patience in epochs",
    "training.checkpoint_period": "epochs between checkpoints",
    "training.evaluated": "weights evaluated",
    "training.augmented_copies": "augmented copies per pair",
    "training.zoom": "zoom",
    "training.shear": "shear",
    "training.brightness": "brightness",
    "training.label_epsilon_copies": "label clipping of copies",
    "training.label_epsilon_originals": "label clipping of originals",
    "training.monitor": "watched by stopping and checkpoints",
    "training.stretch_copies": "grey levels of copies stretched",
    "training.separate_twins": "twins normalised one after the other",
    "training.lr_drop_epoch": "learning rate divided by 10 after epoch",
    "data.pictures": "pictures trained on",
    "model.architecture": "network",
    "model.head": "comparison of embeddings",
    "model.stem_stride": "stride of the first convolution",
    "model.dropout": "dropout",
    "model.pooling": "mean over the picture",
    "model.flip_average": "mirror image averaged in",
    "model.cohort": "pictures of a cohort",
    "training.optimizer": "optimiser",
    "training.schedule": "learning-rate schedule",
    "training.warmup": "epochs of warm-up",
    "training.weight_decay": "weight decay",
    "training.flip": "mirrored at random",
    "training.shift": "shift, at most",
    "training.online_zoom": "zoom, at most",
    "training.rotation": "rotation in degrees, at most",
    "training.online_brightness": "brightness, at most",
    "training.erase": "share of pictures with an erased patch",
    "training.contrast": "weight of the contrast with other people",
    "training.temperature": "temperature of the contrast",
    "training.drawn_people": "people drawn per epoch",
    "training.pairs_per_person": "pairs of each drawn person in a batch",
    "training.least_pictures": "fewest pictures of who is drawn",
}

# What a network was trained on, in LFW's terms.
PICTURE_CLASSES = {"pairs": "pairs only", "all-people": "all training people"}


def source_line(study):
    """What figures and tables of a study were made from, in a line."""
    s = study.settings
    view = "View 1" if s.protocol == "view1" else "View 2"
    split = f"split {s.split}" if s.protocol == "view1" else "validation on the next fold"
    return (
        f"{DATASETS[s.dataset].title}, {view}, profile {s.profile}, {split}, {seeds_in_words(study)}, {study.precision}"
    )


def seeds_in_words(study):
    """How many seeds a study has, and the stages that have more."""
    usual = study.seeds()
    more = {
        name: count
        for name in study.stages()
        if (count := study.seeds_of(get_stage(study.settings.ladder, name))) > usual
    }
    told = f"{usual} seed{'s' if usual > 1 else ''}"
    return told + (f" ({', '.join(f'{count} of {name}' for name, count in more.items())})" if more else "")


def is_demo(study):
    """Whether the pictures are the drawn ones."""
    return study.settings.dataset == "demo"


def heading(study, title, level=1):
    """A heading that names the data and the profile."""
    s = study.settings
    demo = "demo faces" if is_demo(study) else s.dataset
    start = study.first()
    epochs, scaled_epochs = start.training.epochs, scale(start, s.profile, s.ladder).training.epochs
    scaled = "" if epochs == scaled_epochs else f", {epochs} epochs become {scaled_epochs}"
    lines = [f"{'#' * level} {title} ({demo}, profile {s.profile}{scaled})"]
    if is_demo(study):
        lines.append(
            "> **Demo.** These faces are drawn and the people are made up. What is measured on them shows "
            "that the study runs; it says nothing about LFW."
        )
    if s.split in ("random", "sequential") and s.protocol == "view1":
        lines.append(
            f"> **Contaminated validation.** The split `{s.split}` puts the same people on both sides; "
            "validation figures are too good."
        )
    return Markdown("\n\n".join(lines))


def table(rows, caption, study=None):
    """An HTML table of dicts, everything escaped. The caption says what was measured on what."""
    frame = pd.DataFrame(rows)
    frame.columns = [str(column) for column in frame.columns]
    body = frame.to_html(index=False, escape=True, border=0, classes="study", na_rep="", justify="left")
    foot = f"{caption} {_sentence(source_line(study))}." if study else caption
    foot = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(foot))
    # The region is named and can be reached by keyboard, because it scrolls where the table is wider than the page.
    return HTML(
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="Table">{body}</div>'
        f"<figcaption>{foot}</figcaption></figure>"
    )


def changes(study, rung):
    """Table of what each variant changes against the incumbent, unscaled and scaled by the profile."""
    if not rung.candidates:
        return Markdown("What this stage starts from is not settled yet.")
    start = rung.before.config if rung.before else study.base()
    factor = PROFILES[study.settings.profile].factor_for(study.settings.ladder)
    rows = []
    for candidate in rung.candidates:
        differences = candidate.config.differences(start)
        scaled = candidate.specs[0].config.to_dict()
        for key, old, new in differences:
            section, name = key.split(".")
            run = scaled[section][name]
            rows.append(
                {
                    "variant": candidate.variant,
                    "setting": _WORDS.get(key, key),
                    "incumbent": _plain(old),
                    "variant's": _plain(new),
                    f"run here (factor {factor:g})": _plain(run),
                }
            )
        if not differences:
            rows.append(
                {
                    "variant": candidate.variant,
                    "setting": "nothing: the same configuration",
                    "incumbent": "",
                    "variant's": "",
                    f"run here (factor {factor:g})": "",
                }
            )
    if rung.before is None:
        return Markdown("The first stage: there is nothing to compare with yet.")
    return table(
        rows,
        f"Changes against {rung.before.stage}: {rung.before.variant}. The last column is what "
        "this profile ran; the others are in the ladder's own epochs.",
        study,
    )


def differences_in_words(config, other):
    """What a configuration has that another has not, in plain words: list of sentences' parts."""
    return [
        f"{_WORDS.get(key, key)} {_plain(new)} instead of {_plain(old)}" for key, old, new in config.differences(other)
    ]


def describe(config, study):
    """The settings of a configuration as a table."""
    rows = [
        {"setting": _WORDS.get(f"{section}.{name}", name), "value": _plain(value)}
        for section, values in config.to_dict().items()
        for name, value in values.items()
        if value is not None
    ]
    return table(rows, "The configuration in full, epochs as this profile ran them.", study)


def published_beside_measured(study, rungs):
    """The headline table: what the report prints and what was measured here, per variant, means over seeds."""
    rows = []
    for rung in rungs:
        for variant, candidate in zip(rung.stage.variants, rung.candidates):
            results = finished_results(study, candidate)
            p = study.published(rung, candidate)
            rows.append(
                {
                    "stage": rung.stage.id,
                    "variant": variant.id + (" ►" if rung.carries(variant.id) else ""),
                    **(
                        {"published accuracy": percent(p.accuracy) if p else "–"}
                        if LADDERS[study.settings.ladder].has_path()
                        else {"trained on": PICTURE_CLASSES[candidate.config.data.pictures]}
                    ),
                    "measured accuracy": "not finished" if not results else _with_interval(study, candidate),
                    "at best epoch": percent(mean_accuracy(study, candidate, "score_at_best")),
                    "validation at best": percent(mean_of(results, "val_accuracy_at_best")),
                    **(
                        {"AUC": f"{auc:.3f}" if (auc := mean_of(results, "test_auc")) else ""}
                        if LADDERS[study.settings.ladder].calibrated
                        else {}
                    ),
                    "TPR": percent(mean_of(results, "test_tpr")),
                    "TNR": percent(mean_of(results, "test_tnr")),
                    "loss": _pair(_loss(p.loss) if p else "", _loss(mean_of(results, "test_loss"))),
                    "epochs": _pair(_count(p.epochs) if p else "", _count(mean_of(results, "epochs_run"))),
                    "best epoch": _pair(_count(p.best_epoch) if p else "", _count(mean_of(results, "best_epoch"))),
                }
            )
    if not rows:
        return _nothing_of(rungs)
    if not LADDERS[study.settings.ladder].has_path():
        return table(
            rows,
            "Test accuracy in percent, scores calibrated on validation whatever the head (TPR and TNR as the network "
            "gives them); ► is carried forward. Intervals: "
            f"{interval_words(study)}. The classes of pictures trained on are not to be compared with each "
            "other. Measured on:",
            study,
        )
    factor = PROFILES[study.settings.profile].factor
    scaled = f"; epochs here are the report's times {factor:g}" if factor != 1 else ""
    return table(
        rows,
        "Test accuracy in percent, published (LFW-a, one run each) beside measured; ► is carried forward. "
        f"Intervals: {interval_words(study)}. Loss, epochs and best epoch: published | measured"
        f"{scaled}. Measured on:",
        study,
    )


def effort(study, rungs):
    """Seconds and memory, published beside measured."""
    rows = []
    for rung in rungs:
        for variant, candidate in zip(rung.stage.variants, rung.candidates):
            results, p = finished_results(study, candidate), study.published(rung, candidate)
            if results:
                rows.append(
                    {
                        "stage": rung.stage.id,
                        "variant": variant.id,
                        "published s/epoch": f"{p.seconds_per_epoch:.2f}" if p else "",
                        "measured s/epoch": f"{mean_of(results, 'seconds_per_epoch'):.2f}",
                        "published total": clock(p.seconds_total) if p else "",
                        "measured total": clock(mean_of(results, "seconds_total")),
                        "to the best epoch": clock(mean_of(results, "seconds_to_best") or 0),
                        "peak memory": f"{mean_of(results, 'peak_memory_mb'):,.0f} MiB",
                        "parameters": f"{results[0]['parameters']:,}",
                    }
                )
    if not rows:
        return _nothing_of(rungs)
    return table(
        rows,
        "Training time without start and compilation (published: LFW-a, on the report's GPU), and the peak "
        "memory of the training process. Measured on:",
        study,
    )


def outcome(study, rung):
    """In words: what the stage found by validation, and what is carried forward and by how much."""
    if rung.failures or not rung.complete():
        # HTML, not Markdown: a log's last words may hold anything.
        gap = HTML(f'<p class="gap">Not finished: {html.escape(study.why_incomplete(rung).rstrip("."))}.</p>')
        if rung.after is None or not any(c.score for c in rung.candidates):
            return gap
        display(gap)
    if rung.after is None:
        return Markdown("Every run of this stage diverged; nothing is carried forward.")
    text = ""
    best = best_candidate(rung)
    if rung.before is None:
        text += (
            f"The base network reaches a validation accuracy of {percent(rung.after.score[0])} % at its best epoch. "
            "Later stages start from it."
        )
    elif best is not None:
        text += (
            f"The best variant, **{best.variant}**, reaches a validation accuracy of {percent(best.score[0])} %, "
            f"{_gain(best.score[0] - rung.before.score[0])} the incumbent's "
            f"({rung.before.stage}: {rung.before.variant}, {percent(rung.before.score[0])} %). "
        )
        text += _carried(study, rung)
    return Markdown(text + " " + _caution(study, rung))


def headline(study, rungs):
    """The first paragraph of the summary: the best configuration by validation and its test accuracy."""
    best = study.best(rungs)
    if best is None:
        return Markdown("No stage is finished yet.")
    results = finished_results(study, best)
    tested = results[0]["test_accuracy"] is not None
    text = (
        f"The best configuration is **{best.stage}: {best.variant}**, of those that "
        f"{'validation' if study.settings.select == 'validation' else 'the report'} carries forward the one with the highest "
        f"validation accuracy: {percent(best.score[0])} % at the best epoch"
    )
    if tested:
        text += (
            f", test accuracy {percent(mean_accuracy(study, best, 'score_at_best'))} % there and "
            f"{_with_interval(study, best)} with the evaluated weights (matched pairs "
            f"{percent(mean_of(results, 'test_tpr'))} %, mismatched pairs {percent(mean_of(results, 'test_tnr'))} % right)"
        )
    text += f" ({'drawn demo faces, no statement about LFW' if is_demo(study) else DATASETS[study.settings.dataset].title})."
    if not is_demo(study) and LADDERS[study.settings.ladder].has_path():
        published = max(v.published.accuracy for s in REPORT.stages for v in s.variants if v.published)
        text += (
            f" The report's best is {percent(published)} % on LFW-a with one run; the two were measured on "
            f"{'the same' if study.settings.dataset == 'lfw-a' else 'different'} pictures."
        )
    return Markdown(text)


def interval_words(study):
    """What the intervals of a study are: of one kind in all rows."""
    if _has_one_run_each(study):
        return "Wilson's 95 % of the proportion, for one seed: they know nothing of the spread between seeds"
    return (
        "95 % of the mean, by bootstrap over connected components of people and, where there are several runs, over seeds; single "
        "runs in parentheses"
    )


def _has_one_run_each(study):
    return all(
        study.seeds_of(get_stage(study.settings.ladder, name)) * len(study.folds()) == 1 for name in study.stages()
    )


def finished_results(study, candidate):
    """result.json of the finished runs of a candidate."""
    return [study.store.result(spec.run) for spec in candidate.specs if study.store.is_finished(spec.run)]


def ladder_points(study, rungs):
    """What plots.ladder draws: one point per variant."""
    points = []
    for rung in rungs:
        for variant, candidate in zip(rung.stage.variants, rung.candidates):
            results = [r for r in finished_results(study, candidate) if r["test_accuracy"] is not None]
            accuracy = mean_accuracy(study, candidate, "score")
            low, high = test_interval(study, candidate) if results else (None, None)
            points.append(
                {
                    "stage": rung.stage.id,
                    "label": f"{rung.stage.id}: {variant.id}",
                    "accuracy": accuracy,
                    "low": low,
                    "high": high,
                    "singles": _accuracies(study, candidate, "score"),
                    "published": p.accuracy if (p := study.published(rung, candidate)) else None,
                    "carried": rung.carries(variant.id),
                }
            )
    return points


def test_interval(study, candidate):
    """Interval of a candidate's mean test accuracy with the evaluated weights: Wilson's in a study of one run each, else bootstrap."""
    correct = study.correct(candidate, "score")
    if correct is None or any(r["status"] == "diverged" for r in finished_results(study, candidate)):
        return float("nan"), float("nan")
    if len(correct) == 1 and _has_one_run_each(study):
        return metrics.wilson(int(correct.sum()), correct.size)
    return intervals.mean_interval(correct, study.test_components(), draws=4000)


def reservations(study):
    """What to keep in mind beside the figures: a heading and a list."""
    of_report = (
        "The total loss that stopping and checkpoints watch is mostly the penalty of the last unit's weights for over a hundred epochs, "
        "so that they follow it and not what the network learns; `early-stopping: patience5-cross-entropy` watches the network.",
        "The `stride` stage is never carried forward: its network is several times larger and slower.",
        "Published figures were measured on LFW-a with one run each, and several stages were chosen by their test accuracy."
        + (
            " Nothing here is chosen by the test pairs."
            if study.settings.select == "validation"
            else " Following the report's choices follows that, too; nothing else here is chosen by the test pairs."
        ),
    )
    of_all = (
        "LFW shows press photographs, with few children, elderly people, women and minorities. Its authors warn against using "
        "verification figures to vet commercial systems.",
    )
    told = (*(of_report if LADDERS[study.settings.ladder].has_path() else ()), *of_all)
    return Markdown("\n".join(["## What to keep in mind", "", *(f"- {text}" for text in told)]))


def made_from(study, rungs):
    """What the figures were made from: data, profile, seeds, versions, machine, wall time."""
    runs = [
        spec.run for rung in rungs for c in rung.candidates for spec in c.specs if study.store.is_finished(spec.run)
    ]
    unique = [study.store.record(run)[1] for run in dict.fromkeys(runs)]
    if not unique:
        return Markdown("No run is finished yet.")
    data = study.first().data
    bank, pairs, digest = study.data(data)
    versions = sorted({f"{name} {v}" for r in unique for name, v in r["versions"].items()})
    rows = [
        (
            "pictures",
            f"{DATASETS[data.dataset].title}: {len(bank):,}, crop {data.crop}, side {data.side}, {data.filter} filter",
        ),
        ("notes on the pictures", "; ".join(bank.notes) or "none"),
        ("pairs", f"{len(pairs.train):,} training, {len(pairs.validation):,} validation, {len(pairs.test):,} test"),
        ("data digest", digest[:16]),
        ("split", study.settings.split if data.protocol == "view1" else "the ten folds of pairs.txt"),
        ("selection", study.settings.select),
        ("profile", f"{study.settings.profile}: {PROFILES[study.settings.profile].title}"),
        ("seeds", seeds_in_words(study)),
        ("precision of the convolutions", study.precision),
        ("runs", f"{len(unique)} different, {len(runs)} rows"),
        ("machine", "; ".join(sorted({r["device"] for r in unique}))),
        ("backend", "; ".join(sorted({r["backend"] for r in unique}))),
        ("versions", ", ".join(versions)),
        ("training time in all", clock(sum(r["seconds_total"] for r in unique))),
    ]
    return table([{"what": what, "value": value} for what, value in rows], "What the figures were made from.")


def counts(study):
    """What the data set holds beside what is published on LFW."""
    bank, pairs, _ = study.data(study.base().data)
    people, number = np.unique(person_of(bank.names), return_counts=True)
    demo = is_demo(study) or study.settings.protocol == "view2"
    development = len(pairs.train) + len(pairs.validation)
    rows = [
        ("pictures", 13_233, len(bank)),
        ("people", 5_749, len(people)),
        ("people with two or more pictures", 1_680, int((number > 1).sum())),
        ("people with one picture", 4_069, int((number == 1).sum())),
        ("development pairs used", 2_200, development),
        ("test pairs", 1_000, len(pairs.test)),
    ]
    return table(
        [
            {"": what, **({} if demo else {"published": f"{published:,}"}), "here": f"{here:,}"}
            for what, published, here in rows
        ],
        "Counted here." if demo else "Counted here beside the published counts of LFW.",
        study,
    )


def audit_table(audits, study):
    """The audit of the splits as a table. audits: dict from split name to splits.audit's result."""
    rows = [
        {
            "split": name,
            "training pairs (same + different)": f"{a['train_matched']} + {a['train_mismatched']}",
            "validation pairs": f"{a['validation_matched']} + {a['validation_mismatched']}",
            "dropped": a["pairs_dropped"],
            "people on both sides": f"{a['shared_people']} of {a['validation_people']}",
            "pictures on both sides": f"{a['shared_images']} of {a['validation_images']}",
            "validation pairs touched": f"{a['touched_pairs']} of {a['validation_pairs']}",
            "constant answer scores": percent(a["majority_accuracy"]),
        }
        for name, a in audits.items()
    ]
    return table(
        rows, f"What training and validation share. Chosen here: {study.settings.split}. Last column in percent.", study
    )


def layers(rows, study):
    """model.layer_table as a table."""
    shown = [
        {
            "layer": r["layer"],
            "output": r["output"],
            "parameters": f"{r['parameters']:,}",
            "multiply-adds": f"{r['multiply_adds'] / 1e6:,.1f} M" if r["multiply_adds"] else "",
            "activations": f"{r['activations_mb']:,.1f} MiB",
            "state": f"{r['state_mb']:,.1f} MiB",
        }
        for r in rows
    ]
    shown.append(
        {
            "layer": "sum",
            "output": "",
            "parameters": f"{sum(r['parameters'] for r in rows):,}",
            "multiply-adds": f"{sum(r['multiply_adds'] for r in rows) / 1e6:,.1f} M",
            "activations": f"{sum(r['activations_mb'] for r in rows):,.1f} MiB",
            "state": f"{sum(r['state_mb'] for r in rows):,.1f} MiB",
        }
    )
    return table(
        shown,
        "The network by layer: multiply-adds of one picture, activations of a batch of 64 pairs, and "
        "parameters with gradient and Adam's moments.",
        study,
    )


def gallery_groups(study, candidate):
    """What plots.gallery draws: telling test pairs of a candidate's first run, with the best epoch's scores.

    Validation pairs where the test pairs are not scored.
    """
    spec = candidate.specs[0]
    bank = study.data(spec.config.data)[0]
    tested = study.store.result(spec.run)["test_accuracy"] is not None
    scored = study.store.predictions(spec.run, "test" if tested else "val")
    groups = []
    for (same, right), rows in metrics.pick_examples(scored["label"], scored["score_at_best"]).items():
        lefts, rights = bank.rows(scored["left"][rows]), bank.rows(scored["right"][rows])
        title = f"{'Same person' if same else 'Different people'}, judged {'rightly ✓' if right else 'wrongly ✗'}"
        groups.append(
            (
                title,
                [
                    (bank.images[a], bank.images[b], float(scored["score_at_best"][i]), f"line {scored['pair'][i]}")
                    for i, a, b in zip(rows, lefts, rights)
                ],
            )
        )
    return groups


def curves(study, rungs, joined=False):
    """Histories by variant, as the plots of learning curves want them; `joined` puts the stage's name before."""
    found = {}
    for rung in rungs:
        for candidate in rung.candidates:
            histories = [study.store.history(spec.run) for spec in candidate.specs]
            if any(histories):
                name = f"{rung.stage.id}: {candidate.variant}" if joined else candidate.variant
                found[name] = [rows for rows in histories if rows]
    return found


def published_rows(study, keys):
    """The published histories of some (stage, variant), epochs scaled by the profile: {(stage, variant): rows}.

    Empty but for the ladder that does what the published code did.
    """
    if study.settings.ladder != "published":
        return {}
    factor, known = PROFILES[study.settings.profile].factor, reproduction.published_histories()
    return {key: reproduction.scaled(known[key], factor) for key in keys if key in known}


def published_curves(study, rungs):
    """The published histories of the variants that `curves` has: {variant: rows}."""
    found = published_rows(study, [(c.stage, c.variant) for rung in rungs for c in rung.candidates])
    return {variant: rows for (_, variant), rows in found.items()}


def curves_caption(study, rungs):
    """What to see in the learning curves of stages."""
    told = (
        "Training dashed and grey, validation solid and blue; the dot marks the epoch with the best validation accuracy. Where "
        "the two part, the network learns the training pairs by heart."
    )
    if published_curves(study, rungs):
        factor = PROFILES[study.settings.profile].factor
        told += " The published run of the same variant, on LFW-a, is drawn underneath in orange"
        told += "." if factor == 1 else f", its epochs times {factor:g} as in this profile."
    return told


def watched_runs(study, rungs):
    """What plots.watched draws, of each variant's first run: its history, and the epochs of its stop, of the weights evaluated
    and of the learning rate's drop."""
    found = {}
    for rung in rungs:
        for candidate in rung.candidates:
            spec = candidate.specs[0]
            rows, training = study.store.history(spec.run), spec.config.training
            if rows:
                stopped = should_stop(rows, training)
                found[candidate.variant] = (
                    rows,
                    {
                        "stop": len(rows) if stopped else None,
                        "evaluated": evaluated_epoch(rows, training),
                        "learning rate / 10": training.lr_drop_epoch
                        if training.lr_drop_epoch and len(rows) > training.lr_drop_epoch
                        else None,
                    },
                )
    return found


def effort_columns(study, rungs):
    """Labels, seconds per epoch, seconds in all and memory of each finished variant, as plots.effort wants them."""
    found = [(f"{rung.stage.id}: {c.variant}", finished_results(study, c)) for rung in rungs for c in rung.candidates]
    found = [(label, results) for label, results in found if results]
    return (
        [label for label, _ in found],
        *(
            [mean_of(results, key) for _, results in found]
            for key in ("seconds_per_epoch", "seconds_total", "peak_memory_mb")
        ),
    )


def varied_training(study):
    """The first stage of the study's ladder that varies its training images, as (id, TrainingConfig); None where none does."""
    return next(
        (
            (stage, training)
            for stage, training in _trainings(study)
            if training.augmented_copies or training.varies_online()
        ),
        None,
    )


def variation_sentence(study) -> Markdown:
    """How the study's ladder varies its training images: offline copies, online, or not at all."""
    found = varied_training(study)
    if found is None:
        return Markdown("No stage of this ladder varies its training images.")
    stage, training = found
    if training.varies_online():
        told = f"From the stage `{stage}` on, training images are varied online, again in every epoch"
        names = ("flip", "shift", "online_zoom", "rotation", "online_brightness", "erase")
    else:
        told = f"In the stage `{stage}`, {training.augmented_copies} varied copies, drawn once, are added to every training pair"
        names = ("zoom", "shear", "brightness", "stretch_copies")
    ranges = "; ".join(
        f"{_WORDS[f'training.{name}']}: {_plain(value)}" for name in names if (value := getattr(training, name))
    )
    told = f"{told} ({ranges})."
    return Markdown(f"{told} Validation and test images are never varied.")


def variation_rows(study) -> tuple[str, str, str]:
    """What the rows of the figure of varied images are."""
    _, training = varied_training(study)
    return (
        ("originals", "one epoch", "another epoch")
        if training.varies_online()
        else ("originals", "first copies", "second copies")
    )


def _trainings(study):
    for stage in get_ladder(study.settings.ladder):
        for variant in stage.variants:
            yield stage.id, study.base().change(variant.changes).training


def clipped_labels(study):
    """Heading and table of what clipping makes of the labels 0 and 1; nothing where no stage of the ladder clips them."""
    if not any(training.label_epsilon_copies or training.label_epsilon_originals for _, training in _trainings(study)):
        return Markdown("")
    display(Markdown("## Clipped labels"))
    rows = []
    for epsilon in (0.0, 0.01, 0.03):
        low, high = clip_labels([0, 1], epsilon)
        rows.append({"epsilon": f"{epsilon:g}", "label 0 becomes": f"{low:g}", "label 1 becomes": f"{high:g}"})
    return table(rows, "Label clipping with two classes. Accuracy is always measured against the hard labels.", study)


def stage_heading(study, stage):
    """Heading of a stage's notebook, with what the stage expects."""
    found = get_stage(study.settings.ladder, stage)
    top = heading(study, f"{found.id}: {found.title}").data
    return Markdown(f"{top}\n\n## Hypothesis\n\n{found.hypothesis}")


def split_sentence(study, audits):
    """One sentence on the split that the study uses."""
    chosen = audits.get(study.settings.split)
    if chosen is None:
        return Markdown(
            "Under View 2 the ten sets of people are disjoint by construction; one fold is tested, the "
            "next one is validation, the other eight train."
        )
    shared = chosen["shared_people"]
    found = "no person is on both sides" if not shared else f"{shared} people are on both sides"
    return Markdown(
        f"With the split `{study.settings.split}` {found}, {chosen['pairs_dropped']} pairs are dropped, and "
        f"always giving the commoner answer would score {percent(chosen['majority_accuracy'])} % on validation."
    )


def single_picture_sentence(bank):
    """How many people have a single picture."""
    number = np.unique(person_of(bank.names), return_counts=True)[1]
    return Markdown(
        f"{percent((number == 1).mean())} % of the people have a single picture: they can only be in pairs of "
        "different people."
    )


def alignment_sentence(study):
    """Whether faces lie in the same place in every picture, which decides how far pictures may be varied."""
    if study.settings.dataset == "lfw":
        return Markdown("These are the original pictures: the face detector's frame, not aligned.")
    return Markdown("The face stays where it is: the pictures are aligned, and so are those of the test pairs.")


def penalties(study, rungs):
    """Total validation loss minus cross-entropy, the weight penalty, along the epochs of each variant's first run."""
    rows = []
    for rung in rungs:
        for candidate in rung.candidates:
            history = study.store.history(candidate.specs[0].run)
            if history:
                at = [history[min(e, len(history)) - 1] for e in (1, 2, 4, 8, 16)]
                rows.append(
                    {
                        "stage": rung.stage.id,
                        "variant": candidate.variant,
                        **{
                            f"epoch {e}": f"{r['val_loss'] - r['val_cross_entropy']:.2f}" if e <= len(history) else ""
                            for e, r in zip((1, 2, 4, 8, 16), at)
                        },
                        "last epoch": f"{history[-1]['val_loss'] - history[-1]['val_cross_entropy']:.2f}",
                        "epochs": len(history),
                    }
                )
    return (
        table(
            rows,
            "The penalty in the total loss after some epochs, first run of each variant. The report's total "
            "validation loss, penalty included, is 120 after one epoch, 75 after five and 47 after twenty.",
            study,
        )
        if rows
        else nothing_finished()
    )


def best_candidate(rung):
    """The finished candidate of a stage with the best validation score, None where none is finished."""
    finished = [c for c in rung.candidates if c.score is not None and np.isfinite(c.score[0])]
    return max(finished, key=lambda c: c.score, default=None)


def nothing_finished(rung=None):
    """The sentence that stands where a finished run would be shown."""
    return Markdown(
        f"No run of {rung.stage.id} is finished."
        if rung
        else "No stage is finished yet: run `make study`, or the notebook 01_stage, first."
    )


def _nothing_of(rungs):
    return nothing_finished(rungs[0] if len(rungs) == 1 else None)


def _carried(study, rung):
    if rung.after is rung.before or (rung.after.stage, rung.after.variant) == (rung.before.stage, rung.before.variant):
        if not rung.stage.carry:
            return "By design this stage is never carried forward: its network is several times larger and slower."
        if study.settings.select == "report":
            return "The incumbent stays: the report went on with what it had."
        return f"The incumbent stays: no variant is better on validation{_tie(rung)}."
    if study.settings.select == "report":
        return f"**{rung.after.variant}** is carried forward, as the report did."
    return f"**{rung.after.variant}** is carried forward, for its validation {_tie(rung) or 'accuracy'}."


def _gain(gain):
    """How a validation accuracy stands to another's, in words."""
    if gain == 0:
        return "the same as"
    size = percent(abs(gain))
    return f"{'less than 0.1' if size == '0.0' else size} points {'above' if gain > 0 else 'below'}"


def _tie(rung):
    """What decided between the one carried forward and others of its validation accuracy; empty where none has the same."""
    others = [
        c
        for c in ([rung.before] if rung.before else []) + list(rung.candidates)
        if c.score is not None and (c.stage, c.variant) != (rung.after.stage, rung.after.variant)
    ]
    tied = [c for c in others if c.score[0] == rung.after.score[0]]
    if not tied:
        return ""
    names = " and ".join("the incumbent" if c is rung.before else f"`{c.variant}`" for c in tied)
    decided = "cross-entropy" if all(c.score[1] < rung.after.score[1] for c in tied) else "cross-entropy and order"
    if rung.after.stage == rung.stage.id:
        return f"{decided}: at the same accuracy as {names}"
    return f" (at the same accuracy as {names}, {decided} decided)"


def _caution(study, rung):
    runs = study.seeds_of(rung.stage) * len(study.folds())
    pairs = len(study.data(rung.candidates[0].specs[0].config.data)[1].validation)
    accuracy = max((c.score or rung.after.score)[0] for c in rung.candidates)
    count = f"{'one run' if runs == 1 else f'{runs} runs'} of each variant."
    if not 0 < accuracy < 1:
        return f"This is {count}"
    return (
        f"With {pairs} validation pairs, one standard error of an accuracy of {percent(accuracy)} % is "
        f"{percent(np.sqrt(accuracy * (1 - accuracy) / pairs))} points, and this is {count}"
    )


def _with_interval(study, candidate):
    accuracy = mean_accuracy(study, candidate, "score")
    if accuracy is None:
        return "not scored"
    if not np.isfinite(accuracy):
        return "diverged"
    low, high = test_interval(study, candidate)
    return f"{percent(accuracy)} [{percent(low)}, {percent(high)}]" + _singles(_accuracies(study, candidate, "score"))


def _accuracies(study, candidate, column):
    """Test accuracy of each finished run of a candidate with the scores of a column; calibrated in ladders that compare so."""
    if LADDERS[study.settings.ladder].calibrated and candidate.config.model.head != "cosine":
        finished = [
            study.store.calibrated_scores(spec.run)
            for spec in candidate.specs
            if study.store.is_finished(spec.run, with_test=True)
        ]
        return [metrics.accuracy(scored["label"], scored[column]) for scored in finished]
    name = {"score": "test_accuracy", "score_at_best": "test_accuracy_at_best"}[column]
    return [r[name] for r in finished_results(study, candidate) if r[name] is not None]


def mean_accuracy(study, candidate, column):
    """Mean test accuracy of a candidate's finished runs, as its ladder compares them; None where none is scored."""
    values = _accuracies(study, candidate, column)
    return float(np.mean(values)) if values else None


def _singles(accuracies):
    """The single runs behind a mean: each of a few, the range of many."""
    if len(accuracies) < 2:
        return ""
    told = (
        ", ".join(map(percent, accuracies))
        if len(accuracies) <= 5
        else f"{percent(min(accuracies))} to {percent(max(accuracies))}"
    )
    return f" ({told})"


def mean_of(results, key):
    """Mean of a measure over runs that have it, None where none has."""
    values = [r[key] for r in results if r[key] is not None]
    return float(np.mean(values)) if values else None


def _loss(value):
    return "" if value is None else f"{value:.2f}"


def _count(value):
    return "" if value is None else f"{value:.0f}"


def _plain(value):
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " to ".join(f"{v:g}" for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(text):
    return text[0].upper() + text[1:]


def _pair(published, measured):
    return f"{published or '–'}\u00a0|\u00a0{measured or '–'}"
