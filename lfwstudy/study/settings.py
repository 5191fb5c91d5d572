"""A study's settings: the command's options, checked."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from lfwstudy.config import PRECISIONS, PROTOCOLS, SPLITS, Checked, one_of, within
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import ConfigError, choose_one
from lfwstudy.ladder import LADDERS, PROFILES
from lfwstudy.runs import dispatch
from lfwstudy.system.files import given_path

# The settings that distinguish ladders within one folder.
COMBINATION = ("ladder", "protocol", "split", "select")


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
                f"--split {self.split} and --protocol view2 cannot be combined: View 2's validation is one of the other folds"
            )
        object.__setattr__(self, "set_options", tuple(self.set_options))
        if self.cluster:
            dispatch.check_cluster(self.cluster)
        for name in ("data_dir", "out", "stages_file"):
            value = getattr(self, name)
            if value:
                object.__setattr__(self, name, str(given_path(value)))

    def folder(self) -> Path:
        """The study's folder: `out`, else runs/<dataset>-<profile> below the checkout or the current folder."""
        return Path(self.out) if self.out else default_root() / "runs" / f"{self.dataset}-{self.profile}"

    def combination(self) -> dict[str, str]:
        """The settings that distinguish ladders within one folder: the fields COMBINATION by name."""
        return {name: getattr(self, name) for name in COMBINATION}


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
