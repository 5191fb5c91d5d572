"""What explorers read of a study: its finished runs, their scored pairs, the pictures, and networks that were kept."""

from dataclasses import dataclass

import numpy as np

from lfwstudy.config import RunConfig
from lfwstudy.data.pairs import person_of
from lfwstudy.errors import RunError
from lfwstudy.report.figures import image_uri
from lfwstudy.study.best import best_run
from lfwstudy.system.files import read_csv, read_json
from lfwstudy.verify.photos import load_model
from lfwstudy.widgets.controls import require

SETS = [("test", "test"), ("validation", "val"), ("training", "train")]
_BATCH = 64


@dataclass(frozen=True)
class ScoredPairs:
    """The pairs of one set as one run scored them, at its best epoch; arrays of one length."""

    run: str
    part: str
    line: np.ndarray
    left: np.ndarray
    right: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def __len__(self):
        return len(self.label)

    def right_answer(self, threshold=0.5):
        """Whether each pair is judged rightly at a threshold."""
        return (self.score > threshold) == (self.label > 0.5)


def finished_rows(study):
    """Rows of results.csv of this study's combination (dicts of texts). Raises RunError where there is none."""
    path = study.out / "results.csv"
    wanted = study.settings.combination()
    if study.settings.protocol == "view2":
        wanted["split"] = ""
    rows = [row for row in (read_csv(path) if path.is_file() else ()) if all(row[k] == v for k, v in wanted.items())]
    return require(rows, f"No run is finished yet in {study.out}: run `lfwstudy run --out {study.out}` first")


def run_options(study):
    """Finished runs as (text, id) of a choice: the ladder's best first (`best.best_run`), then those carried forward."""
    found = finished_rows(study)
    rows = {row["run"]: row for row in reversed(found) if study.store.is_finished(row["run"])}
    require(rows, f"The runs that results.csv names are not in {study.store.root}")
    best = (best_run(found, study.store) or {}).get("run")
    ordered = sorted(rows.values(), key=lambda row: (row["run"] != best, row["carried_forward"] != "true"))
    return [(run_title(row), row["run"]) for row in ordered]


def run_title(row):
    """How a row of results.csv is called in a choice."""
    fold = f", fold {row['fold']}" if row["fold"] else ""
    return f"{row['stage']}: {row['variant']}, seed {row['seed']}{fold}" + (
        " ►" if row["carried_forward"] == "true" else ""
    )


def config_of(study, run):
    """RunConfig of a run. Raises RunError where config.json cannot be read."""
    path = study.store.folder(run) / "config.json"
    try:
        return RunConfig.from_dict(read_json(path)["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: missing or not readable ({error})") from error


def history_of(store, run):
    """History rows of a finished run. Raises RunError where the file is missing or damaged."""
    rows = store.history(run)
    if not rows:
        raise RunError(f"{store.folder(run) / 'history.csv'}: damaged or missing")
    return rows


def scored_pairs(study, run, part):
    """ScoredPairs of a run. Raises RunError where the set is not scored, the run diverged or its file is damaged."""
    path = study.store.folder(run) / "predictions.csv"
    try:
        found = study.store.predictions(run, part)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path}: missing or damaged ({error})") from error
    name = dict((value, text) for text, value in SETS)[part]
    require(found["label"], f"The {name} pairs of this run are not scored")
    if not np.isfinite(found["score_at_best"]).all():
        raise RunError("This run diverged: its scores are no numbers")
    return ScoredPairs(run, part, found["pair"], found["left"], found["right"], found["label"], found["score_at_best"])


def bank_of(study, run):
    """The pictures as a run saw them: ImageBank. Raises DataError where they are not at hand."""
    return study.data(config_of(study, run).data)[0]


class Pictures:
    """Data URIs of a bank's pictures by name, each made once."""

    def __init__(self, bank):
        self.bank, self.known = bank, {}

    def show(self, name):
        """{src, alt} of a picture."""
        if name not in self.known:
            self.known[name] = image_uri(self.bank.images[self.bank.rows([name])[0]])
        return {"src": self.known[name], "alt": spoken(name)}

    def of_person(self, name, others_than=()):
        """Names of the pictures of a picture's person, without the given ones."""
        own = self.bank.names[person_of(self.bank.names) == person_of([name])[0]]
        return [n for n in own if n not in others_than]


class Network:
    """A kept network: embeds pictures, each one once, and scores them. Raises StudyError where it is not kept."""

    def __init__(self, study, run):
        path = study.store.folder(run) / "model.keras"
        if not path.is_file():
            raise RunError(
                "The weights of this run are not kept (a study run with --keep all keeps those of every run), so "
                "this part stays empty"
            )
        model = load_model(path)
        self.tower, head = model.get_layer("tower"), model.get_layer("head")
        self.mirrors = any(layer.name == "flip_average" for layer in model.layers)
        from keras import Model

        self.odds = Model(head.inputs, head.get_layer("score").input)
        self.names, self.rows = [], None

    def embed(self, images):
        """Embeddings of uint8 or float pictures (n, side, side): float32 (n, d)."""
        images = np.asarray(images)
        scaled = images.astype(np.float32)[..., None] / (255 if images.dtype == np.uint8 else 1)
        embeddings = self._towered(scaled)
        return (embeddings + self._towered(scaled[:, :, ::-1])) / 2 if self.mirrors else embeddings

    def log_odds(self, left, right):
        """Log-odds of "same" of embeddings, one side may be a single row: float (n,)."""
        return np.asarray(self.odds([*np.broadcast_arrays(left, right)], training=False))[:, 0].astype(float)

    def remember(self, names, bank):
        """Embed a set's pictures, once."""
        names = list(np.unique(names))
        if names != self.names:
            self.rows, self.names = self.embed(bank.images[bank.rows(names)]), names

    def nearest(self, name, count):
        """The pictures most like one of the remembered by the network's own distance: list of (name, P(same))."""
        at = self.names.index(name)
        odds = self.log_odds(self.rows, self.rows[at : at + 1])
        order = [i for i in np.argsort(-odds, kind="stable") if i != at][:count]
        return [(self.names[i], float(sigmoid(odds[i]))) for i in order]

    def _towered(self, scaled):
        return np.concatenate(
            [np.asarray(self.tower(scaled[at : at + _BATCH], training=False)) for at in range(0, len(scaled), _BATCH)]
        )


def sigmoid(odds):
    """Probability of log-odds."""
    return 1 / (1 + np.exp(-np.asarray(odds, float)))


def spoken(name):
    """A picture's name as a person reads it: Ada Lovelace, picture 1."""
    person, _, number = name.rpartition("_")
    return f"{person.replace('_', ' ')}, picture {int(number)}" if number.isdigit() else name
