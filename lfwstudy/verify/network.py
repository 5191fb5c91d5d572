"""A kept network, loaded from a study or from the package: it embeds images and scores pairs of embeddings."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.images import frame
from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.runs.store import Store
from lfwstudy.study.results import Results
from lfwstudy.study.settings import default_root
from lfwstudy.system.files import read_json

if TYPE_CHECKING:
    import keras

# The shipped network, its configuration and its model card.
SHIPPED = Path(__file__).with_name("shipped")
_BATCH = 64


class Network:
    """A siamese network with the framing of its images, `data`, and a name for messages."""

    def __init__(self, model: "keras.Model", data: DataConfig, name: str) -> None:
        from keras import Model

        self.data, self.name = data, name
        self._tower, head = model.get_layer("tower"), model.get_layer("head")
        self._averages_mirrored = any(layer.name == "flip_average" for layer in model.layers)
        self._logit = Model(head.inputs, head.get_layer("score").input)

    @property
    def is_demo(self) -> bool:
        """Whether it was trained on drawn faces alone."""
        return self.data.dataset == "demo"

    def frame(self, face: Image.Image) -> np.ndarray:
        """A face of 250x250 pixels in this network's framing: uint8 (side, side)."""
        return frame(face, self.data.crop, self.data.side, self.data.filter)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of framed images: float32 (n, d), from uint8 or float in [0, 1] (n, side, side)."""
        pixels = images.astype(np.float32)[..., None] / (255 if images.dtype == np.uint8 else 1)
        embeddings = self._in_batches(pixels)
        return (embeddings + self._in_batches(pixels[:, :, ::-1])) / 2 if self._averages_mirrored else embeddings

    def log_odds(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Log-odds of "same person": float (n,), from embeddings (n, d); a single row (1, d) is paired with every row of the other."""
        return np.asarray(self._logit([*np.broadcast_arrays(left, right)], training=False))[:, 0].astype(float)

    def score(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Probability of "same person": as `log_odds`, from 0 to 1."""
        return probability(self.log_odds(left, right))

    def score_images(self, left: np.ndarray, right: np.ndarray) -> float:
        """Probability that two framed images (side, side) show the same person."""
        embeddings = self.embed(np.stack([left, right]))
        return float(self.score(embeddings[:1], embeddings[1:])[0])

    def _in_batches(self, pixels: np.ndarray) -> np.ndarray:
        batches = (pixels[at : at + _BATCH] for at in range(0, len(pixels), _BATCH))
        return np.concatenate([np.asarray(self._tower(batch, training=False)) for batch in batches])


def probability(log_odds: ArrayLike) -> np.ndarray:
    """Probability of log-odds."""
    return 1 / (1 + np.exp(-np.asarray(log_odds, float)))


def load_network(out: str | PathLike[str] = "") -> Network:
    """The network of a study's best run with kept weights; without a study, the one shipped with the package.

    Raises StudyError if there is no study, or no finished run has kept its weights.
    """
    if not out and (SHIPPED / "model.keras").is_file():
        config = RunConfig.from_dict(read_json(SHIPPED / "run.json")["config"])
        return Network(load_model(SHIPPED / "model.keras"), config.data, "shipped with lfwstudy")
    folder = Path(out) if out else default_root() / "runs" / "demo-quick"
    results = Results.open(folder)
    best = results.best_run(need_weights=True)
    if best is None:
        raise StudyError(f"{folder}: no finished run has kept its weights; run the study with --keep best")
    return load_run(results.store, best["run"], f"{best['stage']}: {best['variant']}, seed {best['seed']}")


def load_run(store: Store, run: str, name: str = "") -> Network:
    """The network of a run. Raises RunError if its weights are not kept, StudyError if its files are damaged."""
    path = store.folder(run) / "model.keras"
    if not path.is_file():
        raise RunError(f"The weights of run {run} are not kept; `lfwstudy run --keep all` keeps those of every run")
    return Network(load_model(path), run_config(store, run).data, name or run)


def run_config(store: Store, run: str) -> RunConfig:
    """The configuration of a run. Raises RunError if config.json cannot be read."""
    path = store.folder(run) / "config.json"
    try:
        return RunConfig.from_dict(read_json(path)["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: missing or damaged ({one_line(error)}); `lfwstudy run` sets such a run aside and trains it again"
        ) from error


def load_model(path: Path) -> "keras.Model":
    """Load a kept model in Keras' safe mode: nothing in the file is executed. Raises StudyError."""
    from lfwstudy.system.backend import start_keras_quietly

    start_keras_quietly()
    import keras

    import lfwstudy.network.siamese  # noqa: F401  # registers the network's own layers

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file makes Keras raise many types
        raise StudyError(f"{path}: not a loadable network ({type(error).__name__}: {one_line(error)[:300]})") from error
