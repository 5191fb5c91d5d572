"""The report's ladder as run by its published code, stage by stage."""

import dataclasses

from lfwstudy.ladder.report_ladder import AFTER_RAISING, PENALISED, REPORT, augmented, normalised
from lfwstudy.ladder.stage import Ladder, Stage

# Differences of the code from the report, by stage and variant. Its option "after activation" is 0 and tested for truth,
# so no batch-norm layer was inserted; its epochs count from 0.
_AS_CODED = {
    ("batchnorm", "after-activation"): normalised("none"),
    ("batchnorm", "after-activation-patient"): normalised("none", 10, 300),
    ("augmentation", "after-activation"): augmented("none", 20),
    **{
        ("lr-schedule", f"drop{epoch}"): {**AFTER_RAISING, "training.lr_drop_epoch": epoch + 1}
        for epoch in (40, 50, 60)
    },
}
# Variants not in the code, or without a printed figure.
_REMARKS = {
    **{
        key: f"from epoch {changes['training.lr_drop_epoch'] + 1} on in the published code"
        if "training.lr_drop_epoch" in changes
        else "no batch-norm layer in the published code"
        for key, changes in _AS_CODED.items()
    },
    (
        "batchnorm",
        "after-activation",
    ): "no batch-norm layer in the published code: the same run as early-stopping: patience5",
    ("early-stopping", "patience5-cross-entropy"): "not in the published code",
    ("label-clipping", "copies"): "not printed",
}


def _as_coded(stage: Stage) -> Stage:
    return dataclasses.replace(
        stage,
        variants=tuple(
            dataclasses.replace(
                v,
                changes=_AS_CODED.get((stage.id, v.id), v.changes),
                title=v.title + (f" ({_REMARKS[stage.id, v.id]})" if (stage.id, v.id) in _REMARKS else ""),
            )
            for v in stage.variants
        ),
    )


PUBLISHED = Ladder(
    "published",
    "what the report's code did",
    tuple(map(_as_coded, REPORT.stages)),
    {
        **PENALISED,
        "data.filter": "nearest",
        "training.shear": 0.0,
        "training.stretch_copies": True,
        "training.separate_twins": True,
    },
    split="sequential",
    select="report",
    replicated=True,
)
