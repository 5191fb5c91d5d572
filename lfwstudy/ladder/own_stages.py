"""A user's own stages: tables of a TOML file or of study.json, or the command's `--set`; and their place in a ladder."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from lfwstudy.config import DEFAULTS, RunConfig, flatten
from lfwstudy.errors import ConfigError, choose_one, quoted, reading
from lfwstudy.ladder import LADDERS, PROFILES, base_config
from lfwstudy.ladder.stage import Ladder, Stage, Variant

# What is the same for all stages of a study, so that they can be compared.
_FIXED = {"data.dataset", "data.protocol", "data.fold", "data.split", "data.split_seed"}
_T = TypeVar("_T", Stage, Variant)


def read(path: str | Path) -> tuple[Stage, ...]:
    """The stages of a TOML file. Raises DataError if it cannot be read, ConfigError as `parse` does."""
    with reading(f"{path}: not a readable TOML file"):
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    with naming(path):
        for key in content:
            choose_one("table", key, ["stages"])
        return parse(content.get("stages"))


def parse(tables: Any) -> tuple[Stage, ...]:
    """Stages from tables with the fields of Stage and Variant.

    Raises
    ------
    ConfigError
        For an unknown, missing or repeated entry or one of the wrong type; it names stage and variant.
    """
    if not isinstance(tables, list) or not tables:
        raise ConfigError("it has no [[stages]]")
    stages = []
    for table in tables:
        with naming(f"stage {_id(table)}"):
            variants = table.get("variants") if isinstance(table, dict) else None
            if not isinstance(variants, list) or not variants:
                raise ConfigError("it has no [[stages.variants]]")
            stages.append(_built(Stage, {**table, "variants": _unique(map(_variant, variants))}))
            if any(stages[-1].id == built_in.id for ladder in LADDERS.values() for built_in in ladder.stages):
                raise ConfigError("the package has a stage of this id; choose another")
    return _unique(stages)


def of_settings(settings: Sequence[str]) -> tuple[Stage, ...]:
    """The stage `own` with a variant of settings "section.field=value". Raises ConfigError as `parse` does.

    Each command adds a variant, all against the same incumbent.
    """
    changes: dict[str, Any] = {}
    with naming("--set"):
        for setting in settings:
            key, sign, value = (part.strip() for part in setting.partition("="))
            if not sign or key in changes:
                why = "given twice: a command makes one variant" if sign else "not SECTION.FIELD=VALUE"
                raise ConfigError(f"{quoted(setting)} is {why}")
            try:
                changes[key] = tomllib.loads(f"value = {value}")["value"]
            except tomllib.TOMLDecodeError:
                changes[key] = value  # a word, which TOML would want in quotes
        named = "-".join(f"{key.partition('.')[2]}-{value}" for key, value in changes.items())
        title = ", ".join(f"{key} = {value}" for key, value in changes.items())
        name = re.sub("[^a-z0-9._]+", "-", named.lower())[:100].strip("-")
        variant = {"id": name, "title": title, "changes": changes}
        hypothesis = "Each variant changes a few settings of the configuration carried forward so far."
        return parse([{"id": "own", "title": "Own settings", "hypothesis": hypothesis, "variants": [variant]}])


def tables(stages: Iterable[Stage]) -> list[dict[str, Any]]:
    """Stages as `parse` reads them."""
    return [{key: value for key, value in asdict(stage).items() if key != "report_choice"} for stage in stages]


def merge(known: Iterable[Stage], given: Iterable[Stage]) -> tuple[Stage, ...]:
    """A study's own stages with those given now: new stages and variants are added, texts replaced.

    Raises ConfigError if a known variant would change: its finished runs would no longer be what the study says.
    """
    found = {stage.id: stage for stage in known}
    for stage in given:
        variants = {variant.id: variant for variant in found.get(stage.id, stage).variants}
        for variant in stage.variants:
            if (old := variants.get(variant.id, variant).changes) != variant.changes:
                raise ConfigError(
                    f"stage {stage.id}: variant {variant.id}: this study already has it with {quoted(old)}, "
                    f"not {quoted(variant.changes)}; give the changed variant another id"
                )
            variants[variant.id] = variant
        found[stage.id] = replace(stage, variants=tuple(variants.values()))
    return tuple(found.values())


def extend(ladder: Ladder, own: Sequence[Stage], profile: str) -> Ladder:
    """A ladder with a user's own stages, each after the one it names and others there already, or at the end.

    Raises
    ------
    ConfigError
        If `after` names no stage, two variants of a stage are equal, or a variant's settings do not exist or do not go with
        those of a stage before or after it.
    """
    stages = list(ladder.stages)
    for stage in own:
        ids, at = [other.id for other in stages], len(stages)
        if stage.after:
            with naming(f"stage {stage.id}"):
                at = ids.index(choose_one("stage in after", stage.after, ids)) + 1
            while at < len(stages) and stages[at].after == stage.after:
                at += 1
        stages.insert(at, stage)
    ladder = replace(ladder, stages=tuple(stages))
    base = base_config(profile, ladder.id).change(stages[0].variants[0].changes)
    for stage in own:
        seen: dict[RunConfig, str] = {}
        for variant in stage.variants:
            with naming(f"stage {stage.id}: variant {variant.id}"):
                _check_path(ladder, stage, variant, base)
                same = seen.setdefault(PROFILES[profile].scale(base.change(variant.changes), ladder), variant.id)
                if same != variant.id:
                    raise ConfigError(f"equal to variant {same} in the profile {profile}")
    return ladder


def _check_path(ladder: Ladder, stage: Stage, variant: Variant, base: RunConfig) -> None:
    """Raise ConfigError if a variant does not go with one that may be carried forward to it, or be built on it."""
    alone, at = base.change(variant.changes), ladder.stages.index(stage)
    for number, other in enumerate(ladder.stages):
        for v in other.variants:
            try:
                if number < at and other.carry:
                    base.change(v.changes).change(variant.changes)
                elif number > at and stage.carry:
                    alone.change(v.changes)
            except ConfigError as error:
                earlier = f"it may start from {other.id}: {v.id}, so change one of {', '.join(v.changes)} as well"
                later = f"{other.id}: {v.id} may build on it, so give the stage carry = false"
                raise ConfigError(f"{error}; {earlier if number < at else later}") from None


def _variant(table: Any) -> Variant:
    with naming(f"variant {_id(table)}"):
        built = _built(Variant, table)
        if not isinstance(built.changes, dict) or not built.changes:
            raise ConfigError("changes must be a table of settings, such as { training.learning_rate = 1e-4 }")
        nested = {key: value for key, value in built.changes.items() if isinstance(value, dict)}
        changes = {key: value for key, value in built.changes.items() if key not in nested} | flatten(nested)
        if fixed := _FIXED & set(changes):
            raise ConfigError(
                f"{min(fixed)} is the same for all stages of a study; give it as an option of the command"
            )
        # TOML has no None: the word stands for it where it is the default.
        unset = {key: None for key, value in changes.items() if value == "none" and DEFAULTS.get(key, "") is None}
        return replace(built, changes=changes | unset)


def _built(kind: type[_T], table: Any) -> _T:
    """A stage or variant from a table, its texts in one line each."""
    if not isinstance(table, dict):
        raise ConfigError(f"not a table: {quoted(table)}")
    known = {field.name: field.default is MISSING for field in fields(kind) if field.name != "report_choice"}
    for key in table:
        choose_one("entry", key, known)
    for name, is_required in known.items():
        if is_required and name not in table:
            raise ConfigError(f"it has no {name}")
    values: dict[str, Any] = {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in table.items()}
    return kind(**values)


def _unique(parts: Iterable[_T]) -> tuple[_T, ...]:
    found: dict[str, _T] = {}
    for part in parts:
        if found.setdefault(part.id, part) is not part:
            raise ConfigError(f"two {type(part).__name__.lower()}s have the id {part.id}")
    return tuple(found.values())


def _id(table: Any) -> str:
    return quoted(table.get("id", "")).strip("'\"") if isinstance(table, Mapping) else ""


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Put what is being read before the message of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None
