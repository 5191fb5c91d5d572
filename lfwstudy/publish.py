"""Measured figures in the READMEs: written from results.csv by `python -m lfwstudy.publish`, never typed.

A block between `<!-- results -->` and `<!-- /results -->` is replaced; a test compares it with the files.
"""

import sys
from pathlib import Path

from .claims import published
from .files import read_csv, write_text
from .stages import get_ladder

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results -->", "<!-- /results -->"
PLACES = (("README.md", "results/lfw-deepfunneled"), ("results/lfw-deepfunneled/README.md", "results/lfw-deepfunneled"))


def block(folder):
    """The Markdown table of a folder's results.csv, a row per variant, means over seeds."""
    rows = read_csv(ROOT / folder / "results.csv")
    # One ladder, the first; what else a folder holds is in its report.
    same = ("ladder", "protocol", "split", "select")
    rows = [row for row in rows if all(row[key] == rows[0][key] for key in same)]
    lines = ["| stage | variant | published (LFW-a) | measured [95 %] | at best epoch | validation at best | TPR / TNR | "
             "epochs | seconds per epoch | seeds |", "|---|---|---|---|---|---|---|---|---|---|"]
    groups = {}
    for row in rows:
        groups.setdefault((row["stage"], row["variant"]), []).append(row)
    for (stage, variant), runs in groups.items():
        p = published(stage, variant)
        interval = (f" [{_percent(runs[0]['test_ci_low'])}, {_percent(runs[0]['test_ci_high'])}]" if len(runs) == 1 else "")
        lines.append(" | ".join([
            f"| {stage}", variant + (" ►" if runs[0]["carried_forward"] == "true" else ""),
            f"{100 * p.accuracy:.1f}" if p else "", _mean(runs, "test_accuracy", 100) + interval,
            _mean(runs, "test_accuracy_at_best", 100), _mean(runs, "val_accuracy_at_best", 100),
            f"{_mean(runs, 'test_tpr', 100)} / {_mean(runs, 'test_tnr', 100)}",
            f"{_mean(runs, 'epochs_run', 1, 0)} of {runs[0]['epochs_max']}", _mean(runs, "seconds_per_epoch", 1),
            f"{len(runs)} |"]))
    first = rows[0]
    lines.append(f"\n{first['dataset']}, profile `{first['profile']}`, split `{first['split']}`, convolutions in "
                 f"{first['precision']}, seed{_seeds(rows)}, {first['backend']} on {first['device']}. "
                 f"Accuracy in percent of the test pairs of {first['protocol']}; TPR and TNR are the shares of matched and of "
                 f"mismatched pairs judged rightly; ► is carried forward by {first['select']}.")
    missing = [f"{stage.id}: {v.id}" for stage in get_ladder(first["ladder"]) for v in stage.variants
               if (stage.id, v.id) not in groups and any(stage.id == row["stage"] for row in rows)]
    if missing:
        lines.append(f"\nNot finished yet: {', '.join(missing)}; what is carried forward may change with it.")
    return "\n".join(lines)


def published_text(text, folder):
    """A README's text with its block made anew. Raises ValueError where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no block {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{block(folder)}\n{END}{after}"


def main():
    """Rewrite the blocks of all READMEs."""
    for readme, folder in PLACES:
        path = ROOT / readme
        write_text(path, published_text(path.read_text(encoding="utf-8"), folder))
    return 0


def _seeds(rows):
    last = max(int(row["seed"]) for row in rows)
    return f"s 0 to {last}" if last else " 0"


def _mean(runs, column, factor, digits=1):
    values = [float(run[column]) for run in runs if run[column]]
    return f"{factor * sum(values) / len(values):.{digits}f}" if values else ""


def _percent(value):
    return f"{100 * float(value):.1f}"


if __name__ == "__main__":
    sys.exit(main())
