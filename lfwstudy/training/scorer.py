"""Embeddings, scores and validation of the current weights, during and after training."""

import numpy as np

from lfwstudy.evaluation import metrics
from lfwstudy.network.layers import unit_length
from lfwstudy.network.operations import EMBED_BATCH, Tensor, keras, ops
from lfwstudy.training.batches import IndexedPairs
from lfwstudy.training.whitening import Whitening, within_class_whitening

# Pairs of embeddings, each of which is compared with a whole cohort.
HEAD_BATCH = 1024


class Scorer:
    """Scores pairs with a trainer's current weights: each distinct image is embedded once.

    Parameters
    ----------
    trainer : PairTrainer
    sets : dict
        From a set's name to its pairs.
    cohort : int32, shape (n,), or None
        Rows of the images in a cosine head's cohort. The head gets these and is calibrated on validation whenever that is
        scored.
    late : bool
        Whether it gets them by `settle` only: to embed all images after each epoch would slow training down.
    whitening : Whitening, optional
        Becomes part of the tower's last layer, which is linear, by `settle` only.

    A set "calibration", where there is one, calibrates the head by `settle` in place of validation.
    """

    def __init__(
        self,
        trainer: keras.Model,
        sets: dict[str, IndexedPairs],
        cohort: np.ndarray | None = None,
        late: bool = False,
        whitening: Whitening | None = None,
    ) -> None:
        self.trainer, self.sets, self.cohort, self.late, self.whitening = trainer, sets, cohort, late, whitening
        self.embedder = trainer.operations.embedder(IndexedTower(trainer))
        self.head = trainer.siamese.get_layer("head")

    def scores(self, name: str) -> np.ndarray:
        """Probability of "same" for each pair of a set: float64 (n,)."""
        return self._through(self.head, name)

    def embedded(self, name: str) -> list[Tensor]:
        """Embeddings of a set's left and right images: two float32 (n, d)."""
        left, right, _ = self.sets[name]
        rows, at = np.unique(np.concatenate([left, right]), return_inverse=True)
        embeddings = self.embed(rows)
        return [embeddings[at[: len(left)]], embeddings[at[len(left) :]]]

    def embed(self, rows: np.ndarray) -> Tensor:
        """Embeddings of images by row number in inference mode: float32 (n, d)."""
        return self.embedder(rows.astype(np.int32))

    def warm_up(self) -> None:
        """Compile the embedding, so that no epoch's time includes it."""
        self.embed(np.unique(self.sets["val"][0])[:EMBED_BATCH])

    def settle(self) -> None:
        """Complete weights for their final scores by what is left for the end: whitening, the cohort, calibration."""
        if self.whitening:
            self._whiten(self.whitening)
        if self.late or self.whitening or "calibration" in self.sets:
            self.calibrate(final=True)

    def calibrate(self, final: bool = False) -> None:
        """Embed a cosine head's cohort, then fit its scale and shift to validation's labels (Platt 1999); other heads have
        nothing to fit."""
        if self.cohort is not None and (final or not self.late):
            self.head.get_layer("cosine").cohort.assign(unit_length(self.embed(self.cohort)))
        layer = next((layer for layer in self.head.layers if layer.name == "calibration"), None)
        if layer is not None:
            name = "calibration" if final and "calibration" in self.sets else "val"
            logit = self._through(self.trainer.logit, name)
            scale, shift = metrics.platt(self.sets[name][2], logit, balanced=name == "calibration")
            layer.scale.assign(scale), layer.shift.assign(shift)

    def penalty(self) -> float:
        """The weight penalty in the loss."""
        return _total(self.trainer.siamese)

    def validate(self) -> dict[str, float]:
        """Loss, cross-entropy and accuracy on validation against hard labels; the penalty in the loss and its head's part."""
        self.calibrate()
        label, score = self.sets["val"][2], self.scores("val")
        entropy, penalty = metrics.cross_entropy(label, score), self.penalty()
        return {
            "val_loss": entropy + penalty,
            "val_cross_entropy": entropy,
            "val_accuracy": metrics.accuracy(label, score),
            "penalty": penalty,
            "head_penalty": _total(self.head),
        }

    def _whiten(self, by: Whitening) -> None:
        unit = ops.convert_to_numpy(unit_length(self.embed(by.rows)))
        matrix = within_class_whitening(unit, by.people, by.share)
        for weight in self.trainer.tower.get_layer("dense").weights:
            weight.assign(ops.convert_to_numpy(weight) @ matrix)

    def _through(self, head: keras.Model, name: str) -> np.ndarray:
        """What a head makes of each pair of a set: float64 (n,)."""
        left, right = self.embedded(name)
        # A cohort of all images is compared with each pair: not with all pairs at once.
        size = HEAD_BATCH if self.late else len(left)
        parts = [
            head([left[at : at + size], right[at : at + size]], training=False) for at in range(0, len(left), size)
        ]
        return np.concatenate([np.asarray(part, np.float64)[:, 0] for part in parts])


class IndexedTower(keras.Model):
    """Row numbers of images in, embeddings out; shares the images and weights of a trainer."""

    def __init__(self, trainer: keras.Model) -> None:
        super().__init__(name="indexed_tower")
        self.bank, self.tower = trainer.bank, trainer.tower
        self.mirrors = any(layer.name == "flip_average" for layer in trainer.siamese.layers)
        # Otherwise Keras builds it by calling it, and JAX compiles each operation by itself.
        self.built = True

    def call(self, rows: Tensor, training: bool = False) -> Tensor:
        images = gather(self.bank, rows)
        embeddings = self.tower(images, training=False)
        if self.mirrors:
            embeddings = (embeddings + self.tower(ops.flip(images, axis=2), training=False)) / 2
        return embeddings


def gather(bank: Tensor, rows: Tensor) -> Tensor:
    """Images of a uint8 bank by row number, as float32 (n, side, side, 1) in [0, 1]."""
    images = ops.take(bank, rows, axis=0)
    return ops.expand_dims(ops.cast(images, "float32") / 255.0, axis=-1)


def _total(model: keras.Model) -> float:
    return float(sum(map(float, model.losses)))
