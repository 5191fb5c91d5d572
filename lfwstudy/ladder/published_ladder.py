"""The report's ladder as run by its published code, stage by stage."""

import dataclasses

from lfwstudy.ladder.report_ladder import AFTER_RAISING, PENALISED, REPORT, augmented, normalised
from lfwstudy.ladder.stage import Ladder, Stage, Variant, data, training

# Differences of the code from the report, by stage and variant. Its option "after activation" is 0 and tested for truth,
# so no batch-norm layer was inserted; its epochs count from 0.
_AS_CODED = {
    ("batchnorm", "after-activation"): normalised("none"),
    ("batchnorm", "after-activation-patient"): normalised("none", 10, 300),
    ("augmentation", "after-activation"): augmented("none", 20),
} | {("lr-schedule", f"drop{n}"): AFTER_RAISING | training(lr_drop_epoch=n + 1) for n in (40, 50, 60)}
_NO_NORM = "no batch-norm layer in the published code"
# Of variants that differ, are not in the code, or have no printed figure.
_REMARKS = {
    ("early-stopping", "patience5-cross-entropy"): "not in the published code",
    ("batchnorm", "after-activation"): f"{_NO_NORM}: the same run as early-stopping: patience5",
    ("batchnorm", "after-activation-patient"): _NO_NORM,
    ("augmentation", "after-activation"): _NO_NORM,
    ("label-clipping", "copies"): "not printed",
} | {("lr-schedule", f"drop{n}"): f"from epoch {n + 2} on in the published code" for n in (40, 50, 60)}


def _as_coded(stage: Stage) -> Stage:
    variants = []
    for v in stage.variants:
        remark = _REMARKS.get((stage.id, v.id))
        title = f"{v.title} ({remark})" if remark else v.title
        variants.append(Variant(v.id, title, _AS_CODED.get((stage.id, v.id), v.changes)))
    return dataclasses.replace(stage, variants=tuple(variants))


PUBLISHED = Ladder(
    "published",
    "what the report's code did",
    tuple(map(_as_coded, REPORT.stages)),
    PENALISED | data(filter="nearest") | training(shear=0.0, stretch_copies=True, separate_twins=True),
    split="sequential",
    select="report",
    replicated=True,
)
