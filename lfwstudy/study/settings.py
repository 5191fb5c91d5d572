"""A study's settings, the command's options, checked; and its record, study.json, which only this module reads and changes."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lfwstudy.config import PRECISIONS, PROTOCOLS, SPLITS, Checked, one_of, within
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import ConfigError, StudyError, choose_one
from lfwstudy.ladder import LADDERS, PROFILES, own_stages
from lfwstudy.ladder.stage import Stage
from lfwstudy.runs import dispatch
from lfwstudy.study.rungs import Place
from lfwstudy.system.files import locked, read_json, write_json
from lfwstudy.system.precision import resolve_precision

# The settings that distinguish ladders within one folder.
COMBINATION = ("ladder", "protocol", "split", "select")
# The folder of the images when the study last ran, and the one it was made from; specific to a machine, so not in study.json.
DATA_DIR_HINT = ".data-dir"
_COLUMNS = (
    "ladder stage variant seed fold profile dataset protocol split select precision backend device parameters "
    "epochs_run epochs_max evaluated_epoch best_epoch train_accuracy train_loss train_cross_entropy val_accuracy "
    "val_loss val_cross_entropy test_accuracy test_loss test_cross_entropy val_accuracy_at_best "
    "test_accuracy_at_best test_auc test_eer test_tpr test_tnr test_ci_low test_ci_high seconds_per_epoch "
    "seconds_total seconds_to_best peak_memory_mb carried_forward run"
)
RESULT_COLUMNS = _COLUMNS.split()


@dataclass(frozen=True)
class Settings(Checked):
    """A study's settings; the fields are the command's options.

    Parameters
    ----------
    stages : str
        Comma-separated ids, empty for the user's own stages given here or else all of the ladder. A study checks them.
    stages_file, set_options : str, tuple of str
        A TOML file with a user's own stages; settings "section.field=value" of a variant in the stage `own`.
    split, select : str
        Empty for the ladder's own.
    data_dir, out, cluster : str
        Empty for none.
    test : bool
        Whether the test pairs are scored.

    Raises
    ------
    ConfigError
        For values that do not exist or do not go together.
    """

    dataset: str = one_of(*DATASETS, default="demo")
    data_dir: str = ""
    profile: str = "quick"
    ladder: str = "report"
    stages: str = ""
    stages_file: str = ""
    set_options: tuple[str, ...] = ()
    seeds: int = within(1, 1, 1000)
    split: str = one_of(*SPLITS, default="")
    protocol: str = one_of(*PROTOCOLS)
    select: str = one_of("validation", "report", default="")
    precision: str = one_of("auto", *PRECISIONS)
    keep: str = one_of("best", "all", "none")
    test: bool = True
    cluster: str = ""
    out: str = ""

    def __post_init__(self) -> None:
        ladder = LADDERS[choose_one("ladder", self.ladder, LADDERS)]
        object.__setattr__(self, "split", self.split or ("components" if self.protocol == "view2" else ladder.split))
        object.__setattr__(self, "select", self.select or ladder.select)
        choose_one("profile", self.profile, PROFILES)
        super().__post_init__()
        if self.select == "report" and not ladder.has_path():
            raise ConfigError(
                f"--select report follows the report's own path; the ladder {self.ladder} has none: use "
                "--select validation"
            )
        if self.protocol == "view2" and self.split != "components":
            raise ConfigError(
                f"--split {self.split} does not go with --protocol view2: its validation is one of the other folds"
            )
        object.__setattr__(self, "set_options", tuple(self.set_options))
        if self.cluster:
            dispatch.check_cluster(self.cluster)
        for name in ("data_dir", "out", "stages_file"):
            value = getattr(self, name)
            if value:
                object.__setattr__(self, name, str(Path(value).expanduser().absolute()))

    def folder(self) -> Path:
        """The study's folder: `out`, else runs/<dataset>-<profile> below the checkout or the current folder."""
        return Path(self.out) if self.out else default_root() / "runs" / f"{self.dataset}-{self.profile}"

    def combination(self) -> dict[str, str]:
        """The settings that distinguish ladders within one folder: the fields COMBINATION by name."""
        return {name: getattr(self, name) for name in COMBINATION}


class Record:
    """study.json of a folder, seen from one of its ladders.

    Raises
    ------
    ConfigError
        If the folder belongs to another data set, profile or precision than `settings`, or study.json is damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = settings.folder() / "study.json"
        self.given = own_stages.read(settings.stages_file) if settings.stages_file else ()
        self.given += own_stages.of_settings(settings.set_options) if settings.set_options else ()
        self._load()

    @property
    def entry(self) -> dict[str, Any]:
        """The record of this ladder, existing or new: its combination, `seeds`, `stages` and `runs`."""
        wanted = self.settings.combination()
        for entry in self.content["combinations"]:
            if all(entry[key] == value for key, value in wanted.items()):
                return entry
        return {**wanted, "seeds": self.settings.seeds, "stages": [], "runs": []}

    @cached_property
    def runs(self) -> dict[Place, str] | None:
        """The run at each place of this ladder; None if an earlier version, which did not record it, wrote the folder."""
        runs = self.entry.get("runs")
        return None if runs is None else {Place(r["stage"], r["variant"], r["seed"], r["fold"]): r["run"] for r in runs}

    def ladders(self) -> list[dict[str, Any]]:
        """The combination and seeds of each ladder in the folder, as for `Settings`; other processes may add ladders."""
        return [_options(entry) for entry in self._read()["combinations"]]

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """This ladder's current entry, to be changed in a `with` block and written at its end."""
        with locked(self.path.with_name(".study.lock"), patience=10):
            self._load()
            entry = self.entry
            if entry not in self.content["combinations"]:
                self.content["combinations"].append(entry)
            yield entry
            write_json(self.path, self.content)
            vars(self).pop("runs", None)

    def _load(self) -> None:
        """Read study.json, and add the user's own stages that the settings give; they are written with the next change."""
        self.content, s = self._read(), self.settings
        with own_stages.naming(s.stages_file or "--set"):
            own = own_stages.merge(_own(self.content, s.ladder), self.given)
            self.ladder = own_stages.extend(LADDERS[s.ladder], own, s.profile)
        if self.given:
            self.content.setdefault("own_stages", {})[s.ladder] = own_stages.tables(own)

    def _read(self) -> dict[str, Any]:
        """The content of study.json, or of a new one; checked against the settings."""
        path, s = self.path, self.settings
        try:
            content = read_json(path)
            choose_one("precision", content["precision"], PRECISIONS)
            choose_one("data set", content["dataset"], DATASETS)
            profile = choose_one("profile", content["profile"], PROFILES)
            ladders = {
                name: own_stages.extend(ladder, _own(content, name), profile) for name, ladder in LADDERS.items()
            }
            for entry in content["combinations"]:
                ladders[Settings(**_options(entry)).ladder].in_order(entry["stages"])
        except FileNotFoundError:
            precision = resolve_precision(s.precision)
            return {"dataset": s.dataset, "profile": s.profile, "precision": precision, "combinations": []}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path}: not a readable study ({error}); move it away to start over; finished runs next to it stay usable"
            ) from error
        for name, wanted in (("dataset", s.dataset), ("profile", s.profile), ("precision", s.precision)):
            if content[name] != wanted and wanted != "auto":
                raise ConfigError(
                    f"{path.parent} holds a study with {name} {content[name]}; {wanted} needs another --out"
                )
        return content


def settings_in(folder: str | Path, combination: Mapping[str, str]) -> Settings:
    """The settings of the study in a folder: of its first ladder with the values of `combination`.

    Raises
    ------
    StudyError
        If the folder holds no study, a damaged one, or no such ladder.
    """
    out = Path(folder).expanduser().absolute()
    path, hint = out / "study.json", out / DATA_DIR_HINT
    if not path.is_file():
        raise StudyError(f"{out}: no study here (study.json is missing); run `lfwstudy run --out {out}` first")
    try:
        content = read_json(path)
        entries = [e for e in content["combinations"] if all(e[key] == value for key, value in combination.items())]
        if content["combinations"] and not entries:
            raise StudyError(f"{path}: no ladder with {', '.join(f'{k} {v}' for k, v in combination.items())}")
        folders = os.fsdecode(hint.read_bytes()).splitlines() if hint.is_file() else []
        return Settings(
            dataset=content["dataset"],
            profile=content["profile"],
            out=str(out),
            data_dir=next(filter(os.path.exists, folders), ""),
            **_options(entries[0]),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise StudyError(f"{path}: not a readable study ({error})") from error


def default_root() -> Path:
    """The checkout (the nearest folder upwards whose pyproject.toml names this project), else the current folder."""
    here = Path.cwd()
    return next(
        (folder for folder in (here, *here.parents) if _project_name(folder / "pyproject.toml") == "lfwstudy"), here
    )


def _project_name(path: Path) -> str | None:
    """The name in a pyproject.toml; None if there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _own(content: Mapping[str, Any], ladder: str) -> tuple[Stage, ...]:
    """The user's own stages of a ladder."""
    tables = content.get("own_stages", {}).get(ladder)
    return own_stages.parse(tables) if tables else ()


def _options(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in (*COMBINATION, "seeds")}
