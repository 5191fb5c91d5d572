"""Measured figures in README.md and docs/: written from results/ by `python -m tools.readme_blocks`, never typed.

What stands between `<!-- NAME -->` and `<!-- /NAME -->` on a page is replaced by the block of that name in BLOCKS, made from the
runs and the JSON files in results/; a test compares the pages with the files.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

from lfwstudy import bench
from lfwstudy.config import RunConfig
from lfwstudy.data.pairs import Pairs
from lfwstudy.data.splits import component_labels
from lfwstudy.errors import StudyError
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.ladder import LADDERS, base_config, get_ladder, get_stage, reproduction, scale
from lfwstudy.ladder.claims import published
from lfwstudy.network.cost import tower_cost
from lfwstudy.report.sections import report_points
from lfwstudy.report.tables import PICTURE_CLASSES
from lfwstudy.runs.kept import TABLES
from lfwstudy.runs.store import Store
from lfwstudy.study.settings import COMBINATION
from lfwstudy.system.files import read_csv, read_json, write_text
from lfwstudy.system.text import percent, signed_points
from tools import precision

ROOT = Path(__file__).resolve().parents[1]
BEYOND = "results/lfw-deepfunneled-beyond"
SHALLOW, LARGER = "results/lfw-deepfunneled-shallow", "results/lfw-deepfunneled-larger"
PRECISION, CONTAMINATION = ("results/precision.json", "results/precision-full.json"), "results/contamination.json"
BENCHES = ("results/bench.json", "results/bench-avx2.json")
# View 2's folds of a stage.
VIEW2 = {
    "all-people-shallow": "results/lfw-deepfunneled-shallow-view2",
    "all-people-larger": "results/lfw-deepfunneled-view2",
}
# Both of the report's ladders with its hyperparameters; empty until they are trained.
REPORT = "results/lfw-deepfunneled"
# The report's own best network: stage and variant.
REPORT_BEST = ("augmentation", "after-activation")
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *ROOT.glob(f"{REPORT}/README.md"))
# What stands in a block whose file is not there.
NOT_MEASURED = "Not measured with the present network yet."


def first_ladder(folder):
    """Rows of the first ladder in a folder's results.csv; what else it holds is in its report."""
    rows = read_csv(ROOT / folder / "results.csv")
    return [row for row in rows if all(row[key] == rows[0][key] for key in COMBINATION)]


def ladders(folder):
    """Rows of each ladder in a folder's results.csv, [] where there is none."""
    path, found = ROOT / folder / "results.csv", {}
    for row in read_csv(path) if path.is_file() else ():
        found.setdefault(tuple(row[key] for key in COMBINATION), []).append(row)
    return list(found.values())


def curves(folder):
    """The learning curves of the same runs, as a Figure."""
    from lfwstudy.report import figures

    rows, store, histories = first_ladder(folder), Store(ROOT / folder / "runs"), {}
    for row in rows:
        histories.setdefault(f"{row['stage']}: {row['variant']}", []).append(store.history(row["run"]))
    first = rows[0]
    return figures.small_multiples(
        histories,
        f"{first['dataset']}, profile {first['profile']}, split {first['split']}, "
        f"seed{_seeds(rows)}, {first['precision']}, {first['device']}",
    )


def summary_block(folder=REPORT, beyond=SHALLOW):
    """Markdown of the README's few rows: the report's best network, the same one trained here, and the best beyond it."""
    lines = [
        "| network | trained on | tested on | test accuracy, % [95 %] |",
        "|---|---|---|---|",
        f"| the report's best, as published | LFW-a, pairs only | View 1 | {percent(published(*REPORT_BEST).accuracy)} |",
    ]
    for rows in ladders(folder):
        runs = [row for row in rows if (row["stage"], row["variant"]) == REPORT_BEST]
        lines += [_summary_row(f"the same network, `--ladder {rows[0]['ladder']}`", runs, folder)] if runs else []
    groups = beyond_groups(beyond).items()
    lines += [_summary_row(f"`{stage}`", runs, beyond) for (stage, _), runs in groups if stage != "base"]
    if folds := view2(VIEW2["all-people-shallow"], "all-people-shallow"):
        lines.append(
            f"| `all-people-shallow` | eight of ten sets of people | View 2 | {percent(folds[1])} ± {percent(folds[2])} "
            "(ten folds, standard error) |"
        )
    return "\n".join(lines)


def _summary_row(name, runs, folder):
    store = Store(ROOT / folder / "runs")
    data = store.record(runs[0]["run"])[0]["config"]["data"]
    trained_on = f"`{data['dataset']}`, {PICTURE_CLASSES[data['pictures']]}"
    return f"| {name} | {trained_on} | View 1 | {_measured(runs, store)} (mean of {len(runs)} seeds) |"


def headline_block(folder=REPORT, beyond=SHALLOW):
    """What was found, in a few sentences."""
    groups = beyond_groups(beyond)
    most = max(v.published.accuracy for s in get_ladder("report") for v in s.variants if v.published)
    store = Store(ROOT / beyond / "runs")

    def reached(stage):
        runs = next(runs for (name, _), runs in groups.items() if name == stage)
        scored = [store.scores(row["run"]) for row in runs]
        together = (metrics.ensemble(np.stack([s["score"] for s in scored])) > 0.5) == (scored[0]["label"] > 0.5)
        return f"**{_mean(runs, 'test_accuracy', 100)} %** (mean of {len(runs)} seeds; {percent(together.mean())} % for their ensemble)"

    told = f"The report's best network classified {percent(most)} % of the test pairs correctly, on LFW-a and without using names. "
    for rows in ladders(folder):
        of_variant = {}
        for row in rows:
            if row["test_accuracy"] not in ("", "nan"):
                of_variant.setdefault((row["stage"], row["variant"]), []).append(float(row["test_accuracy"]))
        base, *others = (np.mean(values) for values in of_variant.values())
        told += (
            f"With the report's hyperparameters, on `{rows[0]['dataset']}`, the base network of `--ladder {rows[0]['ladder']}` reaches "
            f"{percent(base)} %"
            + (f", the other variants {percent(min(others))} to {percent(max(others))} %. " if others else ". ")
        )
    told += (
        f"A small network trained in another way, on the deep-funneled images and with the people's names, reaches "
        f"{reached('shallow')} from the images listed in the training pairs, and {reached('all-people-shallow')} from all images of "
        "the training people"
    )
    if folds := view2(VIEW2["all-people-shallow"], "all-people-shallow"):
        told += (
            f"; under View 2, LFW's protocol for reported figures, **{percent(folds[1])} ± {percent(folds[2])} %** (mean of ten folds "
            "and its standard error). Its recipe was chosen on View 1's training people, who are among View 2's test people, as the "
            "protocol allows"
        )
    return told + "."


def view2(folder, stage):
    """The results of a stage's ten folds, their mean accuracy and its standard error; None where a fold is missing.

    Other runs in the folder do not count. Raises StudyError where a fold has several runs: of two seeds, say.
    """
    store, (variant,), folds = Store(ROOT / folder / "runs"), get_stage("beyond", stage).variants, {}
    for run in (run for run in store.ids() if store.is_finished(run, with_test=True)):
        config = RunConfig.from_dict(store.record(run)[0]["config"])
        # What is trained under View 2 is written out in full: it starts from the base configuration, whatever came before.
        if config.data.protocol == "view2" and config == base_config(
            "cpu", "beyond", dataset=config.data.dataset, protocol="view2", fold=config.data.fold
        ).change(variant.changes):
            folds.setdefault(config.data.fold, []).append(run)
    for fold, runs in folds.items():
        if len(runs) > 1:
            raise StudyError(
                f"{store.root}: fold {fold} of {stage} has {len(runs)} runs, {_listed(runs)}; keep one of them here"
            )
    if len(folds) < 10:
        return None
    results = [store.result(run) for fold in sorted(folds) for run in folds[fold]]
    return results, *metrics.view2_estimate([result["test_accuracy"] for result in results])


def block(folder):
    """The Markdown tables of the ladders in a folder's results.csv, a row per variant, means over seeds."""
    return "\n\n".join(_ladder(rows, Store(ROOT / folder / "runs")) for rows in ladders(folder)) or (
        "No run of the report's ladders is kept yet: earlier ones lacked the penalty on the last unit, so that their network was not the "
        "report's."
    )


def _ladder(rows, store):
    lines = [
        f"`--ladder {rows[0]['ladder']} --select {rows[0]['select']}`:",
        "",
        "| stage | variant | published (LFW-a) | measured [95 %] | at best epoch | validation at best | TPR / TNR | "
        "epochs | seconds per epoch | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups = {}
    for row in rows:
        groups.setdefault((row["stage"], row["variant"]), []).append(row)
    for (stage, variant), runs in groups.items():
        p = published(stage, variant) if _as_described(runs[0], store) else None
        lines.append(
            " | ".join(
                [
                    f"| {stage}",
                    variant + (" ►" if runs[0]["carried_forward"] == "true" else ""),
                    percent(p.accuracy) if p else "",
                    _measured(runs, store),
                    _mean(runs, "test_accuracy_at_best", 100),
                    _mean(runs, "val_accuracy_at_best", 100),
                    f"{_mean(runs, 'test_tpr', 100)} / {_mean(runs, 'test_tnr', 100)}",
                    f"{_mean(runs, 'epochs_run', 1, 0)} of {runs[0]['epochs_max']}",
                    _mean(runs, "seconds_per_epoch", 1),
                    f"{len(runs)} |",
                ]
            )
        )
    first = rows[0]
    lines.append(
        f"\n{first['dataset']}, profile `{first['profile']}`, split `{first['split']}`, convolutions in "
        f"{first['precision']}, seed{_seeds(rows)}, {first['backend']} on {first['device']}. "
        f"Accuracy in percent of the test pairs of {first['protocol']}; TPR and TNR are the shares of matched and of "
        f"mismatched pairs classified correctly; ► is carried forward by {first['select']}. Intervals: bootstrap over connected "
        "components of people and, where there are several, over seeds."
    )
    if same := _same_weights(rows, store):
        lines.append(
            "\nTrained alike until their best epochs, and there the same weights: "
            + "; ".join(_listed(f"`{name}`" for name in names) for names in same)
            + "."
        )
    missing = [
        f"{stage.id}: {v.id}"
        for stage in get_ladder(first["ladder"])
        for v in stage.variants
        if (stage.id, v.id) not in groups and any(stage.id == row["stage"] for row in rows)
    ]
    if missing:
        lines.append(f"\nNot finished yet: {', '.join(missing)}; what is carried forward may change with it.")
    return "\n".join(lines)


def _measured(runs, store):
    """Test accuracy of a variant's runs with its interval; empty where none is scored."""
    scored = [store.scores(row["run"]) for row in runs if row["test_accuracy"] not in ("", "nan")]
    correct = [(s["score"] > 0.5) == (s["label"] > 0.5) for s in scored]
    components = _components(store.predictions(runs[0]["run"], "test")) if scored else None
    return _with_interval(np.stack(correct), components) if scored else ""


def _as_described(row, store):
    """Whether a row's run has the configuration that the report describes for its variant."""
    config = RunConfig.from_dict(store.record(row["run"])[0]["config"])
    data = {name: getattr(config.data, name) for name in ("dataset", "protocol", "fold", "split", "split_seed")}
    described = LADDERS[row["ladder"]].path(base_config(row["profile"], row["ladder"], **data))
    return scale(described[row["stage"], row["variant"]], row["profile"], row["ladder"]) == config


def reproduction_block(folder=REPORT):
    """Markdown on the published histories beside those of the ladder that does what the published code did."""
    store = Store(ROOT / folder / "runs")
    ours = {
        (row["stage"], row["variant"]): (store.history(row["run"]), True)
        for rows in ladders(folder)
        for row in reversed(rows)
        if row["ladder"] == "published" and row["profile"] == "report"
    }
    rows = reproduction.rows(ours)
    if not rows:
        return "The ladder `published` is not trained yet."
    cells = [
        " | ".join(cell.replace("|", "\\|") for cell in row.values()) for row in (dict(zip(rows[0], rows[0])), *rows)
    ]
    return "\n".join(
        [
            f"| {cells[0]} |",
            "|---" * len(rows[0]) + "|",
            *(f"| {cell} |" for cell in cells[1:]),
            "",
            reproduction.CAPTION,
        ]
    )


def beyond_block(folder=BEYOND):
    """Markdown on the second ladder: a row per variant with its interval over seeds and people, and the ensembles."""
    lines = [
        "| stage | what changes | trained on | test accuracy [95 %] | AUC | at best epoch | validation at best | training seconds | "
        "parameters | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups, store = beyond_groups(folder), Store(ROOT / folder / "runs")
    titles = {(stage.id, v.id): v.title for stage in get_ladder("beyond") for v in stage.variants}
    together = []
    for (stage, variant), rows in groups.items():
        if stage == "leave-one-out":
            continue
        scored = [_scores(store, row["run"]) for row in rows]
        label, scores = scored[0]["label"] > 0.5, np.stack([s["score"] for s in scored])
        components = _components(store.predictions(rows[0]["run"], "test"))
        config = store.record(rows[0]["run"])[0]["config"]
        at_best = np.mean([(s["score_at_best"] > 0.5) == label for s in scored])
        low, high = intervals.mean_interval((scores > 0.5) == label, components)
        lines.append(
            f"| {stage}{_mark(rows)} | {_cell(titles[stage, variant])} | {PICTURE_CLASSES[config['data']['pictures']]} | "
            f"{percent(((scores > 0.5) == label).mean())} [{percent(low)}, {percent(high)}] | {_mean(rows, 'test_auc', 1, 3)} | "
            f"{percent(at_best)} | {_mean(rows, 'val_accuracy_at_best', 100)} | {_mean(rows, 'seconds_total', 1, 0)}{_threads(rows, store)} | "
            f"{int(rows[0]['parameters']):,} | {len(rows)} |"
        )
        if len(rows) > 2:
            right = (metrics.ensemble(scores) > 0.5) == label
            together.append(
                f"| {stage}: mean of {len(rows)} networks' logits | | {PICTURE_CLASSES[config['data']['pictures']]} | "
                f"{_with_interval(right[None], components)} | | | | | | |"
            )
    first = next(iter(groups.values()))[0]
    return "\n".join(
        [
            *lines,
            *together,
            "",
            f"{first['dataset']}, split `{first['split']}`, {first['precision']}, {first['backend']} on {first['device']}"
            f"{ceiling(first['device'], first['precision'])}. "
            "Accuracy in percent of View 1's test pairs, mean over seeds, scores calibrated on validation whatever the head, with the checkpoint of the lowest validation "
            "loss; beside it with the epoch of the highest validation accuracy, by which ► is carried forward. Intervals: bootstrap over connected components of people "
            "and, where there are several, over seeds: with one they know nothing of the spread between seeds. Training "
            "seconds include validation after every epoch, without start and compilation; where a network had one of the two "
            "cores to itself, while another trained on the other, they say so.",
            "",
            f"![Accuracy against training seconds]({folder}/seconds.png)",
        ]
    )


def left_out_block(folder=BEYOND):
    """Markdown on what each factor of the second ladder is worth, empty where nothing was left out yet."""
    groups, store = beyond_groups(folder), Store(ROOT / folder / "runs")
    runs = {variant: rows for (stage, variant), rows in groups.items() if stage == "leave-one-out"}
    if len(runs) < 2 or "whole" not in runs:
        return ""
    correct, areas = {}, {}
    for variant, rows in runs.items():
        scored = [_scores(store, row["run"]) for row in rows]
        areas[variant] = np.mean([metrics.auc(s["label"], s["score_at_best"]) for s in scored])
        correct[variant] = np.stack([(s["score_at_best"] > 0.5) == (s["label"] > 0.5) for s in scored])
    components = _components(store.predictions(runs["whole"][0]["run"], "test"))
    others = [variant for variant in runs if variant != "whole"]
    shared = [min(len(correct["whole"]), len(correct[variant])) for variant in others]
    found = intervals.compare(
        [(correct["whole"][:n], correct[variant][:n]) for n, variant in zip(shared, others)], components, len(others)
    )
    lines = [
        f"| left out | test accuracy at best epoch | AUC | worth [95 %] | p, corrected for {len(others)} | seeds |",
        "|---|---|---|---|---|---|",
        f"| nothing | {percent(correct['whole'].mean())} | {areas['whole']:.3f} | | | {len(runs['whole'])} |",
    ]
    for variant, n, d in zip(others, shared, found):
        p = "" if d.seeds < 2 else f"{d.corrected_p:.3f}" if d.corrected_p >= 0.001 else "< .001"
        lines.append(
            f"| {variant.removeprefix('without-')} | {percent(correct[variant].mean())} | {areas[variant]:.3f} | "
            f"{_points((d.difference, d.low, d.high))} | {p} | {n} |"
        )
    clear = sum(d.corrected_p < 0.05 for d in found)
    return "\n".join(
        [
            *lines,
            "",
            "Worth: points of test accuracy that the recipe on small images has more with the factor than "
            "without it; every head's scores are calibrated on validation. p: Holm's correction; "
            f"{clear or 'none'} of the {len(others)} is below .05 with so few seeds.",
        ]
    )


def _scores(store, run):
    """The test pairs' scores of a run of the second ladder: calibrated on validation where training did not."""
    cosine = store.record(run)[0]["config"]["model"]["head"] == "cosine"
    return store.scores(run) if cosine else store.calibrated_scores(run)


def larger_block(folders=(SHALLOW, LARGER), folds=VIEW2):
    """Markdown on the second ladder's stages that were trained on an accelerator: View 1 by seeds, View 2 by folds."""
    lines = [
        "| stage | trained on | protocol | networks | test accuracy [95 %] | at best epoch | validation at best | training seconds | parameters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    devices = {}
    for folder in folders:
        store = Store(ROOT / folder / "runs")
        for (stage, _), runs in beyond_groups(folder).items():
            if stage == "base":
                continue
            scored = [store.scores(row["run"]) for row in runs]
            label, scores = scored[0]["label"] > 0.5, np.stack([s["score"] for s in scored])
            components = _components(store.predictions(runs[0]["run"], "test"))
            first = f"| {stage} | {PICTURE_CLASSES[store.record(runs[0]['run'])[0]['config']['data']['pictures']]} | View 1 | "
            for named, right, end in (
                (f"mean of {len(runs)} seeds", (scores > 0.5) == label, _ends(runs)),
                (f"mean of {len(runs)} networks' logits", ((metrics.ensemble(scores) > 0.5) == label)[None], " | | | "),
            ):
                lines.append(f"{first}{named} | {_with_interval(right, components)} | {end} |")
            devices.setdefault(_device(runs), []).append(f"`{stage}`")
    for stage, folder in folds.items():
        if found := view2(folder, stage):
            runs, mean, error = found
            lines.append(
                f"| {stage} | eight sets of people.txt | View 2 | {len(runs)} folds, a network each | {percent(mean)} "
                f"± {percent(error)} (standard error) | {_ends(runs)} |"
            )
            devices.setdefault(_device(runs), []).append(f"View 2's `{stage}`")
    on = "; ".join(f"{_listed(stages)} on {device}" for device, stages in devices.items())
    return "\n".join(
        [
            *lines,
            "",
            f"lfw-deepfunneled, convolutions in bfloat16: {on}. Training seconds are those "
            "of up to six networks side by side on a card, or of two cores, where some stood still at times. Accuracy in percent with the checkpoint of the lowest validation loss; at best "
            "epoch: of the highest validation accuracy.",
            "",
            *two_cores_table(folders),
        ]
    )


def two_cores(folders=(SHALLOW, LARGER)):
    """Networks of these stages that were trained on two cores: dicts of stage, seed, epochs, seconds of each epoch trained,
    accuracy, None where it was not trained to the end, scores and labels of the test pairs and their components of people,
    accuracy of the same seed elsewhere, and machine."""
    found = []
    for folder in folders:
        elsewhere, store = {row["run"]: row for row in first_ladder(folder)}, Store(ROOT / folder / "two-cores")
        for run in store.ids():
            result, there, scored = store.result(run), elsewhere[run], store.scores(run)
            found.append(
                {
                    "stage": there["stage"],
                    "seed": result["seed"],
                    "stage_epochs": result["epochs_max"],
                    "epoch_seconds": [float(row["seconds"]) for row in store.history(run)],
                    "test_accuracy": result["test_accuracy"],
                    "score": scored["score"],
                    "label": scored["label"] > 0.5,
                    "components": _components(store.predictions(run, "test")),
                    "elsewhere": float(there["test_accuracy"]),
                    "machine": f"{result['device']} ({result['backend']}, {result['precision']})"
                    f"{ceiling(result['device'], result['precision'])}",
                }
            )
        if (path := ROOT / folder / "two-cores.json").is_file():
            found += [{"test_accuracy": None, **run} for run in read_json(path)]
    return sorted(found, key=lambda run: len(run["epoch_seconds"]) < run["stage_epochs"])


def ceiling(device, precision, files=BENCHES):
    """What matrix products on a machine reached, in words, where a bench was kept of it; else nothing."""
    for measured in (read_json(ROOT / file) for file in files):
        if measured["device"] == device:
            return f", whose matrix products reach {measured['ceiling_gflops'][precision]:,.0f} GFLOP/s in {precision} (`lfwstudy bench`)"
    return ""


def two_cores_table(folders):
    """The same as lines of a Markdown table, a row per stage: means over its seeds."""
    lines = [
        "| on two cores | seeds | epochs | minutes of training, without start and compilation | test accuracy [95 %] | of the same seeds on the card |",
        "|---|---|---|---|---|---|",
    ]
    stages = by_stage(two_cores(folders))
    for stage, runs in stages.items():
        trained, epochs = [len(run["epoch_seconds"]) for run in runs], runs[0]["stage_epochs"]
        minutes = [sum(run["epoch_seconds"]) / len(run["epoch_seconds"]) * epochs / 60 for run in runs]
        took = f"{np.mean(minutes):.1f}" + (f" (at most {max(minutes):.1f})" if len(runs) > 1 else "")
        first = f"| {stage} | {', '.join(str(run['seed']) for run in runs)} | {min(trained)} of {epochs} | "
        if min(trained) < epochs:
            lines.append(f"{first}{took} for all, reckoned | | |")
            continue
        label, scores = runs[0]["label"], np.stack([run["score"] for run in runs])
        lines.append(
            f"{first}{took} | {_with_interval((scores > 0.5) == label, runs[0]['components'])} | "
            f"{percent(np.mean([run['elsewhere'] for run in runs]))} |"
        )
        if len(runs) > 2:
            right = (metrics.ensemble(scores) > 0.5) == label
            lines.append(
                f"| {stage}: mean of {len(runs)} networks' logits | | | | {_with_interval(right[None], runs[0]['components'])} | |"
            )
    machines = dict.fromkeys(run["machine"] for runs in stages.values() for run in runs if run["test_accuracy"])
    return [
        *lines,
        "",
        f"{_listed(machines)}. The same seed ends elsewhere there: sums are taken in another order. Where there are several, "
        "means over the seeds.",
    ]


def _with_interval(right, components):
    """Accuracy in percent of networks (n, pairs) that judged pairs rightly, with its interval."""
    low, high = intervals.mean_interval(right, components)
    return f"{percent(right.mean())} [{percent(low)}, {percent(high)}]"


def by_stage(runs):
    """Runs of `two_cores` by stage, in the order of their seeds, those trained to their end alone where there are any."""
    stages = {}
    for run in runs:
        stages.setdefault(run["stage"], []).append(run)
    return {
        stage: sorted((run for run in runs if run["test_accuracy"]), key=lambda run: run["seed"]) or runs
        for stage, runs in stages.items()
    }


def _ends(runs):
    """The last cells of a row of `larger_block`."""
    return " | ".join(
        (
            _mean(runs, "test_accuracy_at_best", 100),
            _mean(runs, "val_accuracy_at_best", 100),
            _mean(runs, "seconds_total", 1, 0),
            f"{int(runs[0]['parameters']):,}",
        )
    )


def _device(runs):
    """Where runs were trained, all in one place, and with which backend."""
    return f"{runs[0]['device']} ({runs[0]['backend']})"


def _listed(names):
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def beyond_groups(folder=BEYOND):
    """Rows of the second ladder by (stage, variant), in its order; those with test scores."""
    groups = {}
    for row in first_ladder(folder):
        if row["test_accuracy_at_best"]:
            groups.setdefault((row["stage"], row["variant"]), []).append(row)
    return groups


def seconds_figure(folder=BEYOND, later=(SHALLOW, LARGER)):
    """Accuracy against training seconds on two cores of the second ladder, and of the report, as a Figure.

    later: folders of stages trained on an accelerator: shown are the networks of each that were trained on two cores, too.
    """
    from lfwstudy.report import figures

    points, store, groups = [], Store(ROOT / folder / "runs"), beyond_groups(folder)

    def point(stage, rows, store, alone=None):
        pictures = store.record(rows[0]["run"])[0]["config"]["data"]["pictures"]
        # The usual class needs no label: the figure says whose it is where it is another.
        label = stage if pictures == "pairs" else f"{stage} ({PICTURE_CLASSES[pictures]})"
        scored = [_scores(store, row["run"]) for row in rows]
        mean = {
            "accuracy": np.mean([metrics.accuracy(s["label"], s["score"]) for s in scored]),
            "seconds": np.mean([float(row["seconds_total"]) for row in rows]),
        }
        points.append(
            {"label": label, "published": False, "carried": not alone and bool(_mark(rows)), **(alone or mean)}
        )

    for (stage, _), rows in groups.items():
        if stage != "leave-one-out":
            point(stage, rows, store)
    for elsewhere in later:
        whole = {
            stage: {
                "accuracy": np.mean([run["test_accuracy"] for run in runs]),
                "seconds": np.mean([sum(run["epoch_seconds"]) for run in runs]),
            }
            for stage, runs in by_stage(two_cores([elsewhere])).items()
            if runs[0]["test_accuracy"]
        }
        for (stage, _), rows in beyond_groups(elsewhere).items():
            if stage in whole:
                point(stage, rows, Store(ROOT / elsewhere / "runs"), whole[stage])
    first = next(iter(groups.values()))[0]
    return figures.accuracy_against_time(
        points + report_points(),
        f"{first['dataset']}, {first['precision']}, {first['device']}, mean over seeds; shallow stages: "
        "bfloat16, an Intel Xeon's 2 cores",
        "measured here, best checkpoint, pairs only unless said",
    )


def cluster_block(file="results/cluster.json"):
    """Markdown on what the hand-out of runs was measured to take, and what follows for larger studies."""
    from lfwstudy.runs.cluster.worker import state_pause

    m = read_json(ROOT / file)
    seconds = [
        p.seconds_total
        for p in dict.fromkeys(v.published for s in get_ladder("report") for v in s.variants if v.published)
    ]
    a_run = sum(seconds) / len(seconds)
    parameters = tower_cost(base_config("report").model, 105)[1]
    # Weights and Adam's two moments, and the weights of the best epoch and the best checkpoint beside them.
    state = parameters * 4 * (3 + 2)
    pause = state_pause(state)
    a_folder = _bytes_of_a_run(Store(ROOT / SHALLOW / "runs"))
    lines = [
        f"A simulated study of {m['runs']:,} runs on {m['workers']} workers, all on one machine ({m['machine']}, which did "
        "other work meanwhile), each run a process that trains nothing; its client was killed at "
        f"{m['finished_at_kill']} finished runs and started again:",
        "",
        "| measured | |",
        "|---|---|",
        f"| finished; of them trained twice | {m['finished']:,}; {m['trained_twice']} |",
        f"| runs a second, starting a Python process for each included | {m['runs_per_second']:.1f} |",
        *(
            [f"| from the second start of the client to the first epoch trained | {m['seconds_to_resume']:.1f} s |"]
            if "seconds_to_resume" in m
            else []
        ),
        f"| processor time of the scheduler, and of the client, per run | {m['scheduler_cpu_ms_per_run']:.0f} ms, "
        f"{m['client_cpu_ms_per_run']:.0f} ms |",
        f"| memory of the scheduler before and after | {m['scheduler_memory_idle_mb']:.0f} and "
        f"{m['scheduler_memory_mb']:.0f} MiB |",
        f"| peak memory of the client | {m['client_memory_mb']:.0f} MiB |",
        f"| {m['overhead_runs']} runs of {m['overhead_run_seconds']:.0f} s, {m['overhead_at_once']} at once: on one machine "
        f"without a cluster, with `local:{m['overhead_at_once']}` | {m['local_seconds']:.1f} s, "
        f"{m['cluster_seconds']:.1f} s ({100 * (m['cluster_seconds'] / m['local_seconds'] - 1):+.1f} %) |",
        "",
        f"What follows for real studies, if a run takes the {a_run:.0f} s that the report's took on average (reckoned, not "
        "tried):",
        "",
        "| runs | GPUs | hours | runs a minute | scheduler busy | client busy | finished runs on disk | "
        "through the scheduler without a shared folder |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for runs, gpus in ((100, 4), (1000, 10), (1000, 50), (10_000, 100)):
        rate = gpus / a_run
        lines.append(
            f"| {runs:,} | {gpus} | {runs / rate / 3600:.1f} | {60 * rate:.1f} | "
            f"{rate * m['scheduler_cpu_ms_per_run'] / 10:.1f} % | {rate * m['client_cpu_ms_per_run'] / 10:.1f} % | "
            f"{runs * a_folder / 2**20:,.0f} MiB | {(largest := gpus * state / pause / 2**20):,.0f} MiB/s |"
        )
    growth = (m["scheduler_memory_mb"] - m["scheduler_memory_idle_mb"]) / m["runs"]
    lines.append(
        "\nThe heartbeats of hours are not in the processor time, which was measured with short runs. The scheduler's "
        f"memory, if it grows with every run as it did here, ends at {m['scheduler_memory_idle_mb'] + growth * runs:,.0f} "
        f"MiB after {runs:,} runs. What breaks first "
        f"is the network at the scheduler where nothing is shared: {largest:,.0f} MiB/s for the largest study here, of "
        f"resume states of {state / 2**20:,.0f} MiB each. With a shared folder only progress and results pass it."
    )
    return "\n".join(lines)


def _bytes_of_a_run(store):
    """What the four files of a run take, mean over those of a store."""
    sizes = [
        sum(len(json.dumps(content, indent=1)) + 1 for content in store.record(run))
        + sum(len(store.text(run, name)) for name in TABLES)
        for run in store.ids()
    ]
    return sum(sizes) / len(sizes)


def contamination_block(file=CONTAMINATION):
    """Markdown on what people on both sides of the split were measured to be worth."""
    if not (ROOT / file).is_file():
        return NOT_MEASURED
    m = read_json(ROOT / file)
    lines = [
        "| split | validation pairs with a person of the training side | training | validation | test | "
        "validation minus test [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {split} | {100 * s['touched']:.0f} % | {percent(s['train'])} | {percent(s['validation'])} | "
        f"{percent(s['test'])} | {_points(s['gap'])} |"
        for split, s in m["splits"].items()
    ]
    low, high = m["wider"][1:]
    told = "the first is wider" if low > 0 else "the second is wider" if high < 0 else "inside the noise"
    return "\n".join(
        [
            *lines,
            "",
            f"{m['dataset']}, a stand-in for the base network ({m['width']:g} of its filters, {m['side']}x"
            f"{m['side']} pixels, {m['epochs']} epochs, float32), mean over {m['repeats']} drawn splits of each kind, "
            f"on {m['machine']}; accuracy in percent at the best epochs, on all development pairs. The gap under "
            f"`random` minus that under `components`: {_points(m['wider'])} points, {told}. Intervals: corrected "
            "resampled t (Nadeau and Bengio 2003).",
        ]
    )


def bench_block(files=BENCHES):
    """What `lfwstudy bench` said of some machines, as it said it."""
    said = []
    for m in (read_json(ROOT / file) for file in files):
        said += [
            "```",
            f"{m['machine']}; convolutions in {m['precision']}",
            *(
                f"matrix-product ceiling in {name}: {gflops:,.0f} GFLOP/s"
                for name, gflops in m["ceiling_gflops"].items()
            ),
            *bench.table(m),
            "```",
        ]
    return "\n".join(said)


def accelerator_block(folder=REPORT, files=("results/bench-h200.json", "results/bench-h100.json")):
    """Markdown on the report's ladder as it was trained on an accelerator, and on a step of the full network on some."""
    measured = [read_json(ROOT / file) for file in files]
    first, told = measured[0], []
    if (ROOT / folder / "seconds.txt").is_file():
        rows = first_ladder(folder)
        seconds = [int(line) for line in (ROOT / folder / "seconds.txt").read_text(encoding="utf-8").split()]
        epochs = sum(int(row["epochs_run"]) for row in rows)
        told = [
            f"The {len(rows)} runs of the report's ladder, profile `{rows[0]['profile']}`, seed{_seeds(rows)}, took "
            f"{sum(seconds) // 60}:{sum(seconds) % 60:02d} minutes on one {rows[0]['device']} in {len(seconds)} commands "
            f"({', '.join(map(str, seconds))} s), starting, compiling and scoring included: {epochs:,} epochs in all, up to four "
            "runs side by side on the GPU.",
            "",
        ]

    def row(name, cell):
        return f"| {name} | {' | '.join(cell(m, m['step_seconds']) for m in measured)} |"

    def of_all(values, how, unit):
        ours, bare, plain = (format(values[name], how) for name in (bench.OURS, bench.BARE, bench.PLAIN))
        return f"{ours} {unit} ({bench.BARE} {bare}, {bench.PLAIN} {plain})"

    return "\n".join(
        [
            *told,
            f"| a step of {bench.BATCH} pairs of the full network, {first['step_gflop']:,.0f} GFLOP, alone on the card | "
            f"{' | '.join(m['device'] for m in measured)} |",
            "|---|" + "---|" * len(measured),
            *(
                row(
                    f"matrix-product ceiling in {name}",
                    lambda m, _, name=name: f"{m['ceiling_gflops'][name] / 1000:,.0f} TFLOP/s",
                )
                for name in first["ceiling_gflops"]
            ),
            row(
                f"ours, convolutions in {first['precision']}",
                lambda m, steps: (
                    f"{1000 * steps[bench.OURS]:.1f} ms, {m['step_gflop'] / steps[bench.OURS] / 1000:,.0f} TFLOP/s, "
                    f"{100 * m['share_of_ceiling']:.0f} % of the ceiling"
                ),
            ),
            row(
                "a bare Keras `fit` on float arrays, same precision",
                lambda m, steps: f"{1000 * steps[bench.BARE]:.1f} ms",
            ),
            row(
                "the plain script, float32",
                lambda m, steps: f"{1000 * steps[bench.PLAIN]:.1f} ms, {m['plain_script_to_ours']:.2f} times ours",
            ),
            row(
                "the first step begins after the start of the process",
                lambda m, _: of_all(m["first_step_seconds"], ".1f", "s"),
            ),
            row("memory of the card at its peak", lambda m, _: of_all(m["peak_memory_mb"], ",.0f", "MiB")),
        ]
    )


def growth_block(file="results/growth.json"):
    """Markdown on how time and memory were measured to grow."""
    m = read_json(ROOT / file)
    what = {
        "pairs": "an epoch of training, by pairs",
        "pixels": "an epoch of 250 pairs, by pixels of a picture",
        "runs": "opening and tabulating a study, by finished runs",
    }
    lines = [
        "| what grows | from | to | seconds | peak memory, MiB | slope of time | slope of memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for cause, c in m["curves"].items():
        ends = [
            f"{values[0]:,.{digits}f} to {values[-1]:,.{digits}f}"
            for values, digits in ((c["seconds"], 1), (c["memory_mb"], 0))
        ]
        lines.append(
            f"| {what[cause]} | {c['n'][0]:,} | {c['n'][-1]:,} | {ends[0]} | {ends[1]} | {c['seconds_slope']:.2f} | "
            f"{c['memory_slope']:.2f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"{m['machine']}, {m['network']}. A slope of 1 is linear; it is taken between the two largest sizes.",
            "",
            "![How time and memory grow](results/growth.png)",
        ]
    )


def filled(page):
    """A page's text with its blocks made again, links relative to the page. Raises KeyError for an unknown block."""
    up = "../" * (len(page.relative_to(ROOT).parts) - 1)

    def block_of(match):
        content = BLOCKS[match[1]]().replace("](results/", f"]({up}results/")
        return f"<!-- {match[1]} -->\n{content}\n<!-- /{match[1]} -->"

    return re.sub(r"^<!-- (\w+) -->\n.*?^<!-- /\1 -->", block_of, page.read_text(encoding="utf-8"), flags=re.S | re.M)


# What stands between <!-- name --> and <!-- /name -->.
BLOCKS = {
    "summary": summary_block,
    "results": lambda: block(REPORT),
    "headline": headline_block,
    "reproduction": reproduction_block,
    "larger": larger_block,
    "cluster": cluster_block,
    "growth": growth_block,
    "contamination": contamination_block,
    "bench": bench_block,
    "accelerator": accelerator_block,
    "beyond": lambda: "\n\n".join(filter(None, (beyond_block(), left_out_block()))),
    "precision": lambda: (
        "\n\n".join(precision.table(read_json(ROOT / name)) for name in PRECISION if (ROOT / name).is_file())
        or NOT_MEASURED
    ),
}


def main():
    """Rewrite the blocks of all pages, and the figures that they show."""
    from lfwstudy.report import figures

    if (ROOT / REPORT).is_dir():
        curves(REPORT).savefig(ROOT / REPORT / "curves.png", dpi=120)
    if (ROOT / BEYOND / "results.csv").is_file():
        seconds_figure().savefig(ROOT / BEYOND / "seconds.png", dpi=120)
    if (ROOT / "results/growth.json").is_file():
        figures.growth(read_json(ROOT / "results/growth.json")).savefig(ROOT / "results/growth.png", dpi=120)
    for page in PAGES:
        write_text(page, filled(page))
    return 0


def _same_weights(rows, store):
    """Names of variants whose best epochs' weights give the same scores, list by list, where there are several."""
    groups = {}
    for row in rows:
        groups.setdefault((row["seed"], row["fold"], store.scores(row["run"])["score_at_best"].tobytes()), []).append(
            f"{row['stage']}: {row['variant']}"
        )
    return [names for names in dict.fromkeys(map(tuple, groups.values())) if len(names) > 1]


def _mark(rows):
    return " ►" if rows[0]["carried_forward"] == "true" else ""


def _cell(text):
    return text.replace("|", "\\|")


def _components(test):
    """Connected component of people of each test pair, from the names in predictions.csv: int (pairs,)."""
    nothing = np.zeros(len(test["left"]), int)
    return component_labels(Pairs(test["left"], test["right"], nothing, nothing, nothing))


def _seeds(rows):
    last = max(int(row["seed"]) for row in rows)
    return f"s 0 to {last}" if last else " 0"


def _threads(rows, store):
    """What to say where runs were trained on a single thread."""
    alone = sum(store.record(row["run"])[1].get("threads") == 1 for row in rows)
    return "" if not alone else " (1 thread)" if alone == len(rows) else f" ({alone} of {len(rows)} on 1 thread)"


def _mean(runs, column, factor, digits=1):
    values = [float(run[column]) for run in runs if run[column]]
    if not values:
        return ""
    mean = sum(values) / len(values)
    return percent(mean, digits) if factor == 100 else f"{factor * mean:.{digits}f}"


def _points(interval):
    return "{} [{}, {}]".format(*map(signed_points, interval))


if __name__ == "__main__":
    sys.exit(main())
