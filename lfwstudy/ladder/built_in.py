"""The package's ladders and what the report says, read from TOML files whose stages are written as a user's own are.

A variant's `changes` may also be a list of tables and of names under `[settings]`, of which the later prevail; a name after a
minus sign stands for its settings' defaults.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lfwstudy.config import DEFAULTS, flatten
from lfwstudy.ladder.stage import Changes, Claim, Ladder, Published, Stage, Variant

# Differences of the published code from the report, by stage and variant: changes and remarks. Its option "after activation" is
# 0 and tested for truth, so no batch-norm layer was inserted; its epochs count from 0.
_NO_NORM = {"model.batchnorm": "none"}, "no batch-norm layer in the published code"
_AS_CODED: dict[tuple[str, str], tuple[Changes, str]] = {
    ("early-stopping", "patience5-cross-entropy"): ({}, "not in the published code"),
    ("batchnorm", "after-activation"): (_NO_NORM[0], f"{_NO_NORM[1]}: the same run as early-stopping: patience5"),
    ("batchnorm", "after-activation-patient"): _NO_NORM,
    ("augmentation", "after-activation"): _NO_NORM,
    ("label-clipping", "copies"): ({}, "not printed"),
    **{
        ("lr-schedule", f"drop{n}"): ({"training.lr_drop_epoch": n + 1}, f"from epoch {n + 2} on in the published code")
        for n in (40, 50, 60)
    },
}
_CODE = {
    "data.filter": "nearest",
    "training.shear": 0.0,
    "training.stretch_copies": True,
    "training.separate_twins": True,
}


def _read(name: str) -> tuple[Ladder, dict[str, Any]]:
    """A ladder, and the tables of its file that are not part of it."""
    content = tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
    named: dict[str, Changes] = {}
    for key, parts in content.pop("settings").items():
        named[key] = _settings(parts, named)
    stages = []
    for stage in content.pop("stages"):
        variants = tuple(Variant(**v | {"changes": _settings(v["changes"], named)}) for v in stage["variants"])
        stages.append(Stage(**stage | {"variants": variants, "hypothesis": " ".join(stage["hypothesis"].split())}))
    start = _settings(content.pop("start", []), named)
    others: dict[str, Any] = {key: content.pop(key) for key in ("figures", "claims") if key in content}
    return Ladder(name, stages=tuple(stages), start=start, **content), others


def _settings(parts: Any, named: Mapping[str, Changes]) -> Changes:
    changes: Changes = {}
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, dict):
            changes |= flatten(part)
        elif part.startswith("-"):
            changes |= {key: DEFAULTS[key] for key in named[part.removeprefix("-")]}
        else:
            changes |= named[part]
    return changes


def _as_coded(stage: Stage, variant: Variant) -> Variant:
    if (stage.id, variant.id) not in _AS_CODED:
        return variant
    changes, remark = _AS_CODED[stage.id, variant.id]
    return Variant(variant.id, f"{variant.title} ({remark})", variant.changes | changes)


REPORT, _reported = _read("report")
# What the report prints, by stage and variant, and what it claims.
FIGURES = {(row.pop("stage"), row.pop("variant")): Published(**row) for row in _reported["figures"]}
CLAIMS = tuple(
    Claim(**row | {side: tuple(row[side]) for side in ("variant", "incumbent")}) for row in _reported["claims"]
)
BEYOND = _read("beyond")[0]
# The report's ladder as run by its published code.
PUBLISHED = Ladder(
    "published",
    "what the report's code did",
    tuple(replace(stage, variants=tuple(_as_coded(stage, v) for v in stage.variants)) for stage in REPORT.stages),
    REPORT.start | _CODE,
    split="sequential",
    select="report",
    replicated=True,
)
