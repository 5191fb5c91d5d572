"""A trained network: it embeds images and scores pairs of embeddings.

Keras computes it from the file that training keeps, OpenCV from the ONNX files of the shipped one: OpenCV starts in a fraction
of a second, TensorFlow in several.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from lfwstudy.config import RunConfig
from lfwstudy.data.images import frame
from lfwstudy.errors import StudyError, one_line

if TYPE_CHECKING:
    import cv2
    import keras

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
    """The files TOWER and HEAD of a folder as a thread-safe Runtime."""

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
