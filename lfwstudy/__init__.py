"""A study of siamese convolutional networks for face verification on Labeled Faces in the Wild."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfwstudy.verify.verifier import load_verifier

__all__ = ["__version__", "load_verifier"]
__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    # Imported on demand: importing the package loads neither NumPy nor Keras.
    if name == "load_verifier":
        from lfwstudy.verify.verifier import load_verifier

        return load_verifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
