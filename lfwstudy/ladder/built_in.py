"""The package's ladders and what the report says, read from TOML files whose stages are written as a user's own are.

A variant's `changes` may also be a list of tables and of names under `[settings]`: later entries override earlier ones, and a
name after a minus sign resets its settings to their defaults.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lfwstudy.config import DEFAULTS, flatten
from lfwstudy.ladder.stage import Changes, Claim, Ladder, Published, Stage, Variant


def _content(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def _ladder(name: str, stages: Sequence[Stage], content: dict[str, Any]) -> Ladder:
    """A ladder with the options of its file, which are left in `content`."""
    return Ladder(name, stages=tuple(stages), start=flatten(content.pop("start", {})), **content)


def _stages(content: dict[str, Any]) -> list[Stage]:
    named: dict[str, Changes] = {}
    for key, parts in content.pop("settings").items():
        named[key] = _settings(parts, named)
    stages = []
    for stage in content.pop("stages"):
        variants = tuple(Variant(**v | {"changes": _settings(v["changes"], named)}) for v in stage["variants"])
        stages.append(Stage(**stage | {"variants": variants, "hypothesis": " ".join(stage["hypothesis"].split())}))
    return stages


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
    """A variant of the report as the published code has it."""
    for difference in _different:
        if (difference["stage"], difference["variant"]) == (stage.id, variant.id):
            title = f"{variant.title} ({difference['remark']})"
            return Variant(variant.id, title, variant.changes | flatten(difference.get("changes", {})))
    return variant


_report, _published, _beyond = map(_content, ("report", "published", "beyond"))
_different = _published.pop("differences")

# What the report prints, by stage and variant, and what it claims.
FIGURES = {(row.pop("stage"), row.pop("variant")): Published(**row) for row in _report.pop("figures")}
CLAIMS = tuple(
    Claim(**row | {side: tuple(row[side]) for side in ("variant", "incumbent")}) for row in _report.pop("claims")
)
REPORT = _ladder("report", _stages(_report), _report)
PUBLISHED = _ladder(
    "published", [replace(s, variants=tuple(_as_coded(s, v) for v in s.variants)) for s in REPORT.stages], _published
)
BEYOND = _ladder("beyond", _stages(_beyond), _beyond)
