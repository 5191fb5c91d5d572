"""A kept network, loaded from a study or from the package: it embeds images and scores pairs of embeddings.

Keras computes it from the file that training keeps, OpenCV from the ONNX files of the shipped one: OpenCV starts in a fraction
of a second, TensorFlow in several.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from lfwstudy.config import RunConfig
from lfwstudy.data.images import frame
from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.system.files import read_json

if TYPE_CHECKING:
    import cv2
    import keras

    from lfwstudy.runs.store import Store

# The shipped network in both forms, its configuration and its model card.
SHIPPED = Path(__file__).with_name("shipped")
TOWER, HEAD = "tower.onnx", "head.onnx"
_BATCH = 64


class Runtime(Protocol):
    """The two parts of a siamese network as functions of float32 arrays."""

    def tower(self, pixels: np.ndarray) -> np.ndarray:
        """Embeddings (n, d) of images (n, side, side, 1) in [0, 1]."""

    def head(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Log-odds of "same person" (n, 1), from embeddings (n, d)."""


class KerasRuntime:
    """A siamese Keras model as a Runtime."""

    def __init__(self, model: "keras.Model") -> None:
        from keras import Model

        head = model.get_layer("head")
        self._tower, self._head = model.get_layer("tower"), Model(head.inputs, head.get_layer("score").input)

    def tower(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray(self._tower(pixels, training=False))

    def head(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.asarray(self._head([left, right], training=False))


class OpenCVRuntime:
    """The files TOWER and HEAD of a folder as a Runtime; may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        import cv2

        self._tower, self._head = (cv2.dnn.readNetFromONNX(str(folder / name)) for name in (TOWER, HEAD))
        self._lock = Lock()

    def tower(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(self._tower, image=pixels.transpose(0, 3, 1, 2))

    def head(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return self._run(self._head, left=left, right=right)

    def _run(self, net: "cv2.dnn.Net", **inputs: np.ndarray) -> np.ndarray:
        with self._lock:
            for name, values in inputs.items():
                net.setInput(np.ascontiguousarray(values), name)
            return net.forward().copy()  # the next call overwrites it


@dataclass(frozen=True)
class Network:
    """A siamese network, its configuration, and a name for messages."""

    runtime: Runtime
    config: RunConfig
    name: str

    @property
    def is_demo(self) -> bool:
        """Whether it was trained on drawn faces alone."""
        return self.config.data.dataset == "demo"

    def frame(self, face: Image.Image) -> np.ndarray:
        """A face of 250x250 pixels in this network's framing: uint8 (side, side)."""
        return frame(face, self.config.data.crop, self.config.data.side, self.config.data.filter)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of framed images: float32 (n, d), from uint8 or float in [0, 1] (n, side, side)."""
        pixels = images.astype(np.float32)[..., None] / (255 if images.dtype == np.uint8 else 1)
        embeddings = self._in_batches(pixels)
        if not self.config.model.flip_average:
            return embeddings
        return (embeddings + self._in_batches(pixels[:, :, ::-1])) / 2

    def log_odds(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Log-odds of "same person": float (n,), from embeddings (n, d); a single row (1, d) is paired with every row of the other."""
        return self.runtime.head(*np.broadcast_arrays(left, right))[:, 0].astype(float)

    def score(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Probability of "same person": as `log_odds`, from 0 to 1."""
        return probability(self.log_odds(left, right))

    def score_images(self, left: np.ndarray, right: np.ndarray) -> float:
        """Probability that two framed images (side, side) show the same person."""
        embeddings = self.embed(np.stack([left, right]))
        return float(self.score(embeddings[:1], embeddings[1:])[0])

    def _in_batches(self, pixels: np.ndarray) -> np.ndarray:
        batches = (pixels[at : at + _BATCH] for at in range(0, len(pixels), _BATCH))
        return np.concatenate([self.runtime.tower(batch) for batch in batches])


def probability(log_odds: ArrayLike) -> np.ndarray:
    """Probability of log-odds."""
    return 1 / (1 + np.exp(-np.asarray(log_odds, float)))


def load_network(out: str | PathLike[str] = "") -> Network:
    """The network of a study's best run with kept weights; without a study, the one shipped with the package.

    Raises StudyError if there is no study, or no finished run has kept its weights.
    """
    if not out and (SHIPPED / TOWER).is_file():
        config = RunConfig.from_dict(read_json(SHIPPED / "run.json")["config"])
        return Network(OpenCVRuntime(SHIPPED), config, "shipped with lfwstudy")
    from lfwstudy.study.results import Results
    from lfwstudy.study.settings import default_root

    folder = Path(out) if out else default_root() / "runs" / "demo-quick"
    results = Results.open(folder)
    best = results.best_run(need_weights=True)
    if best is None:
        raise StudyError(f"{folder}: no finished run has kept its weights; run the study with --keep best")
    return load_run(results.store, best["run"], f"{best['stage']}: {best['variant']}, seed {best['seed']}")


def load_run(store: "Store", run: str, name: str = "") -> Network:
    """The network of a run. Raises RunError if its weights are not kept, StudyError if its files are damaged."""
    path = store.folder(run) / "model.keras"
    if not path.is_file():
        raise RunError(f"The weights of run {run} are not kept; `lfwstudy run --keep all` keeps those of every run")
    return Network(KerasRuntime(load_model(path)), run_config(store, run), name or run)


def run_config(store: "Store", run: str) -> RunConfig:
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
