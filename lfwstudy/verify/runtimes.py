"""What computes a network: Keras, from the file that training keeps, or OpenCV, from the ONNX files of the shipped one.

OpenCV starts in a fraction of a second, TensorFlow in several.
"""

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lfwstudy.errors import StudyError, one_line

if TYPE_CHECKING:
    import cv2
    import keras

TOWER, HEAD = "tower.onnx", "head.onnx"


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
