"""Training of the siamese network: a model fed with indices, its optimizer, and the fit."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lfwstudy.config import RunConfig, TrainingConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.errors import DamageError
from lfwstudy.network.operations import Operations, Tensor, keras, operations, ops
from lfwstudy.network.siamese import build_siamese
from lfwstudy.training import decisions
from lfwstudy.training.augment import blank, vary
from lfwstudy.training.batches import SIDES, Batches
from lfwstudy.training.checkpoints import load_resume
from lfwstudy.training.covers import cover
from lfwstudy.training.losses import contrast_loss, cross_entropy, hard_accuracy
from lfwstudy.training.recorder import Recorder
from lfwstudy.training.scorer import Scorer, gather

logger = logging.getLogger(__name__)


class PairTrainer(keras.Model):
    """The siamese network fed with indices: gathering, scaling and warping happen inside the compiled step.

    Inputs are a dict of `left` and `right`, int32 (batch,), and, for each side as needed: `left_warp`, float32 (batch, 7), to
    augment images; `left_erase`, float32 (batch, 4), to erase rectangles; `left_cover`, float32 (batch, 2, 9), to cover eyes or
    brow; `left_stretch`, bool (batch,), to stretch grey levels; `left_person`, int32 (batch,), to contrast people.

    The output is the score's logit, (batch, 1): a loss on clipped probabilities would pass no gradient for confidently
    wrong pairs. For batches of drawn people, which hold only matched pairs, it is (batch, 2, 1): of the pair, and of its
    left image with the right image of the previous pair, a stranger.

    Parameters
    ----------
    images : uint8, shape (n, side, side)
        Kept as one tensor next to the compute.
    using : Operations, optional
        Of training; by default the backend's.
    """

    def __init__(
        self, siamese: keras.Model, images: np.ndarray, training: TrainingConfig, using: Operations | None = None
    ) -> None:
        super().__init__(name="pair_trainer")
        self.siamese, self.settings, self.operations = siamese, training, using or operations()
        self.strangers = training.drawn_people is not None
        self.bank = self.add_weight(
            shape=images.shape, dtype="uint8", trainable=False, initializer="zeros", name="bank"
        )
        self.bank.assign(images)
        self.tower, head = siamese.get_layer("tower"), siamese.get_layer("head")
        self.logit = keras.Model(head.inputs, head.get_layer("logit").output)
        self.sums = self._zeros() if training.average else []
        self.training_tower = self.operations.training_tower(self.tower, training.batch_size)
        # Without batch-norm it makes no difference, and one batch is faster.
        self.separate_twins = training.separate_twins and any("norm" in layer.name for layer in self.tower.layers)

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        twins = [self.varied(inputs, side) for side in SIDES]
        if training:
            self._add_to_average()
        if training and self.separate_twins:
            both = ops.concatenate([self.training_tower(twin) for twin in twins], axis=0)
        else:
            images = ops.concatenate(twins, axis=0)
            both = self.training_tower(images) if training else self.tower(images, training=False)
        if training and self.settings.contrast:
            people = ops.concatenate([inputs[f"{side}_person"] for side in SIDES], axis=0)
            self.add_loss(self.settings.contrast * contrast_loss(both, people, self.settings.temperature))
        size = ops.shape(both)[0] // 2
        left, right = both[:size], both[size:]
        logit = self.logit([left, right], training=training)
        if self.strangers:  # not only in training: on JAX, Keras asks for the shape of untrained variables
            return ops.stack([logit, self.logit([left, ops.roll(right, 1, axis=0)], training=training)], axis=1)
        return logit

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the network its averaged weights for a `with` block, if it has them."""
        weights = self._trained() if self.sums else []
        kept = [np.array(weight) for weight in weights]
        for weight, total in zip(weights, self.sums):
            weight.assign(total / self.sums[-1])
        try:
            yield
        finally:
            for weight, value in zip(weights, kept):
                weight.assign(value)

    def _add_to_average(self) -> None:
        """Add the weights before this batch's update; those after the last update are never added."""
        keep = self.settings.average
        for total, value in zip(self.sums, [*self._trained(), 1.0]):
            total.assign(keep * total + (1 - keep) * ops.stop_gradient(value))

    def _zeros(self) -> list[Tensor]:
        """Variables for the weighted sum of each weight over the batches and, last, of the factors."""
        shapes = [weight.shape for weight in self._trained()] + [()]
        return [self.add_weight(shape=shape, trainable=False, initializer="zeros") for shape in shapes]

    def _trained(self) -> list[Tensor]:
        """What training changes: weights, and the moving statistics of batch-norm."""
        return [*self.tower.weights, *self.siamese.get_layer("head").trainable_weights]

    def varied(self, inputs: dict[str, Tensor], side: str) -> Tensor:
        """One side's images as float32 (n, side, side, 1) in [0, 1], augmented if the inputs say how."""
        images = gather(self.bank, inputs[side])
        if f"{side}_cover" in inputs:
            images = cover(images, inputs[f"{side}_cover"])
        if f"{side}_warp" in inputs:
            images = vary(images, inputs[f"{side}_warp"], inputs.get(f"{side}_stretch"))
        return blank(images, inputs[f"{side}_erase"]) if f"{side}_erase" in inputs else images


def build_trainer(
    config: RunConfig, images: ImageBank, precision: str, seed: int, using: Operations | None = None
) -> PairTrainer:
    """A compiled trainer over a bank's images, its optimizer built; using: see `PairTrainer`."""
    using = using or operations()
    siamese = using.build(lambda: build_siamese(config.model, images.side, precision, seed))
    trainer = PairTrainer(siamese, images.images, config.training, using)

    def optimizer() -> keras.optimizers.Optimizer:
        found = build_optimizer(config.training, using)
        found.build(trainer.trainable_variables)
        return found

    trainer.compile(
        optimizer=using.build(optimizer),
        loss=cross_entropy,
        metrics=[
            keras.metrics.MeanMetricWrapper(cross_entropy, name="cross_entropy"),
            keras.metrics.MeanMetricWrapper(hard_accuracy, name="accuracy"),
        ],
        jit_compile=using.jit_compile,
    )
    return trainer


def build_optimizer(training: TrainingConfig, using: Operations | None = None) -> keras.optimizers.Optimizer:
    """Adam, or AdamW without decay of biases, batch-norm's parameters and the power of a generalised mean."""
    kind = (using or operations()).optimizer(training.optimizer)
    if training.optimizer == "adam":
        return kind(training.learning_rate)
    optimizer = kind(training.learning_rate, weight_decay=training.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "power"])
    return optimizer


def fit(trainer: PairTrainer, scorer: Scorer, batches: Batches, folder: Path) -> decisions.Rows:
    """Train until the epochs or the patience run out, resuming if the folder has a resume state.

    Returns the history's rows.
    """
    training = trainer.settings
    recorder = Recorder(folder, training, trainer.siamese, scorer.validate, batches.pairs / batches.batch_size)
    recorder.compiled = trainer.operations.compiles_ahead
    try:
        recorder.rows = load_resume(folder, trainer, training)
    except DamageError as error:
        logger.warning("%s; this run starts over", error)
    done = len(recorder.rows)
    recorder.saved_resume = (done, time.monotonic())
    over = decisions.should_stop(recorder.rows, training) or decisions.diverged(recorder.rows)
    if done < training.epochs and not over:
        scorer.warm_up()
        batches.resume_after(done)
        trainer.operations.fit(trainer, batches, epochs=training.epochs, initial_epoch=done, callbacks=[recorder])
    return recorder.rows
