"""JAX's operations with candidates for faster ones."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import keras
import numpy as np

from lfwstudy.network.jax_ops import JaxOperations
from lfwstudy.network.layers import L2
from lfwstudy.network.operations import Built, Tensor
from tools.candidates import Candidates
from tools.candidates.loop import LONGEST, Executions, ScannedSteps, lengths
from tools.candidates.tower import parts

# Images embedded at once when all are embedded in one program: enough to fill a GPU, 600 MB for the first convolution.
EMBEDDED_AT_ONCE = 512


class PenaltyOfUpdate(L2):
    """A penalty without a gradient, which the optimizer adds."""

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(keras.ops.stop_gradient(x))


class _PenaltyInUpdate:
    """Of an optimizer: adds the gradient 2 l2 w of a `PenaltyOfUpdate` to the gradient of the rest of the loss.

    Otherwise XLA lets the matrix product that yields the gradient start from the penalty's, an array as large as the
    weights to be written and read.
    """

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        if isinstance(variable.regularizer, PenaltyOfUpdate):
            gradient = jax.lax.optimization_barrier(gradient) + 2 * variable.regularizer.l2 * variable.value
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]  # an optimizer's


class Adam(_PenaltyInUpdate, keras.optimizers.Adam):
    """Keras' Adam."""


class AdamW(_PenaltyInUpdate, keras.optimizers.AdamW):
    """Keras' AdamW."""


class CandidateOperations(JaxOperations):
    """`JaxOperations` with candidates.

    longest: steps in one execution at most, of the candidate `scan`.
    """

    with_penalty: ClassVar = {"adam": Adam, "adamw": AdamW}

    def __init__(self, candidates: Candidates, longest: int = LONGEST) -> None:
        self.candidates, self.longest = candidates, longest
        self.compiles_ahead = self.candidates.scan

    def optimizer(self, name: str) -> type[keras.optimizers.Optimizer]:
        return (self.with_penalty if self.candidates.penalty_in_update else self.optimizers)[name]

    def build(self, make: Callable[[], Built]) -> Built:
        made: Any = super().build(make)
        for variable in made.variables if self.candidates.penalty_in_update else ():
            if variable.regularizer is not None:
                variable.regularizer = PenaltyOfUpdate(variable.regularizer.l2)
        return made

    def training_tower(self, tower: keras.Model, batch_size: int) -> Callable[[Tensor], Tensor]:
        if not self.candidates.changes_tower():
            return super().training_tower(tower, batch_size)
        found = parts(tower, self.candidates)

        def embed(images: Tensor) -> Tensor:
            for part in found:
                images = part(images)
            return images

        return embed

    def embedder(self, indexed: keras.Model) -> Callable[[np.ndarray], Tensor]:
        if not self.candidates.one_validation:
            return super().embedder(indexed)

        @jax.jit
        def program(variables: tuple[list[Tensor], list[Tensor]], table: Tensor) -> Tensor:
            found = jax.lax.map(lambda rows: indexed.stateless_call(*variables, rows, training=False)[0], table)
            return found.reshape(-1, found.shape[-1])

        def embed(rows: np.ndarray) -> Tensor:
            size = min(EMBEDDED_AT_ONCE, len(rows))
            table = np.resize(rows, (-(-len(rows) // size), size))
            kinds = indexed.trainable_variables, indexed.non_trainable_variables
            return program(tuple([variable.value for variable in kind] for kind in kinds), table)[: len(rows)]

        return embed

    def executions(self, steps: int) -> list[int]:
        """How many of an epoch's `steps` steps each call of a compiled program trains, in order."""
        return lengths(steps, self.longest) if self.candidates.scan else [1] * steps

    def fit(self, trainer: keras.Model, batches: Any, **options: Any) -> None:
        if not self.candidates.scan:
            super().fit(trainer, batches, **options)
            return
        runs = Executions(batches, self.longest)
        if trainer.train_function is None:
            trainer.train_function = ScannedSteps(trainer)
        trainer.train_function.compile(runs)
        trainer.fit(runs, steps_per_epoch=len(runs.lengths), shuffle=False, verbose=0, **options)
