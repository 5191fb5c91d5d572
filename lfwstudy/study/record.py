"""A study's record, study.json, which only this module reads and writes: what was requested, and which run stands where."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lfwstudy.config import PRECISIONS
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import ConfigError, StudyError, choose_one
from lfwstudy.ladder import LADDERS, PROFILES, own_stages
from lfwstudy.ladder.stage import Stage
from lfwstudy.study.rungs import Place
from lfwstudy.study.settings import COMBINATION, Settings
from lfwstudy.system.files import given_path, locked, read_json, replacing, write_json
from lfwstudy.system.precision import resolve_precision

# Where the images were when the study last ran; specific to a machine, so not in study.json.
_HINT = ".data-dir"


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
    def runs(self) -> dict[Place, str]:
        """The run at each place of this ladder; earlier versions recorded none."""
        return _runs(self.entry)

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

    def remember_images(self, *folders: str) -> None:
        """Note the folders where `settings_in` finds the images again; the first that exists counts."""
        with replacing(self.path.with_name(_HINT)) as hint:
            hint.write_bytes(os.fsencode("\n".join(folders)))

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
                _runs(entry)
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
    out = given_path(folder)
    path, hint = out / "study.json", out / _HINT
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


def _own(content: Mapping[str, Any], ladder: str) -> tuple[Stage, ...]:
    """The user's own stages of a ladder."""
    tables = content.get("own_stages", {}).get(ladder)
    return own_stages.parse(tables) if tables else ()


def _runs(entry: Mapping[str, Any]) -> dict[Place, str]:
    return {Place(r["stage"], r["variant"], r["seed"], r["fold"]): r["run"] for r in entry.get("runs", [])}


def _options(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in (*COMBINATION, "seeds")}
