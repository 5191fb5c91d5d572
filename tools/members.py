"""View 2 with several networks a fold: `python -m tools.members STUDY STAGE[/VARIANT] ... [--csv FILE]`.

A fold's networks are those of the named stages, such as `all-people-whitened members` after `lfwstudy run --protocol view2
--stages-file tools/members.toml`. Each is calibrated on its own validation set, which is never its fold's; the fold's score
is the mean of the calibrated logits. No test label has a part in it but in the accuracy at the end.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from lfwstudy.errors import StudyError, choose_one, one_line
from lfwstudy.evaluation import metrics
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Spec
from lfwstudy.system.files import check_target, write_csv

COLUMNS = ("fold", "networks", "pair", "label", "score")


def together(study: Results, stages: Sequence[str], column: str = "score_at_best") -> pd.DataFrame:
    """The test pairs of all folds, a row for each with COLUMNS: the score is the mean logit of the fold's networks.

    Parameters
    ----------
    stages : STAGE for all of its variants, or STAGE/VARIANT.
    column : score_at_best, of each network's best epoch on validation, or score, of its evaluated weights.

    Raises
    ------
    StudyError
        If a stage is unknown, a network is not finished, or the study is not of View 2.
    """
    specs = {spec.run: spec for stage in stages for spec in _specs(study, stage)}.values()  # each network once
    if missing := [str(spec.place) for spec in specs if not study.store.is_finished(spec.run, with_test=True)]:
        raise StudyError(f"{study.out}: {len(missing)} of the networks not finished, the first is {missing[0]}")
    folds = sorted({spec.fold for spec in specs if spec.fold})
    if not folds:
        raise StudyError(f"{study.out}: no network of View 2 in {', '.join(stages)}")
    return pd.concat([_fold(study, fold, specs, column) for fold in folds], ignore_index=True)


def estimate(scored: pd.DataFrame) -> dict[str, float]:
    """Mean over the folds and its standard error, of accuracy and AUC."""
    folds = [fold for _, fold in scored.groupby("fold")]
    accuracies = [metrics.accuracy(fold["label"], fold["score"]) for fold in folds]
    areas = [metrics.auc(fold["label"], fold["score"]) for fold in folds]
    named = {"accuracy": metrics.view2_estimate(accuracies), "auc": metrics.view2_estimate(areas)}
    return {f"{name}{what}": value for name, found in named.items() for what, value in zip(("", "_error"), found)}


def _specs(study: Results, name: str) -> list[Spec]:
    stage, _, variant = name.partition("/")
    rungs = {rung.stage.id: rung for rung in study.climb()}
    candidates = {c.variant: c for c in rungs[choose_one("stage", stage, list(rungs))].candidates}
    chosen = [choose_one("variant", variant, list(candidates))] if variant else candidates
    return [spec for one in chosen for spec in candidates[one].specs]


def _fold(study: Results, fold: int, specs: Iterable[Spec], column: str) -> pd.DataFrame:
    runs = [spec.run for spec in specs if spec.fold == fold]
    scores = [study.store.calibrated_scores(run) for run in runs]
    return pd.DataFrame(
        {
            "fold": fold,
            "networks": len(runs),
            "pair": study.store.predictions(runs[0])["pair"],
            "label": scores[0]["label"].astype(int),
            "score": metrics.ensemble([one[column] for one in scores]),
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a study of View 2")
    parser.add_argument("stages", nargs="+", metavar="STAGE[/VARIANT]", help="whose networks are combined")
    parser.add_argument("--column", choices=("score_at_best", "score"), default="score_at_best")
    parser.add_argument("--csv", type=Path, help="file for the score of each pair")
    options = parser.parse_args(arguments)
    try:
        if options.csv:
            check_target(options.csv)
        scored = together(Results.open(options.study, {"protocol": "view2"}), options.stages, options.column)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    if options.csv:
        write_csv(options.csv, COLUMNS, scored.to_dict("records"))
    found, networks = estimate(scored), scored.groupby("fold")["networks"].first().tolist()
    print(f"networks a fold: {networks}")
    print("accuracy {accuracy:.4f} ± {accuracy_error:.4f}, AUC {auc:.4f} ± {auc_error:.4f}".format(**found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
