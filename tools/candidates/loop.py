"""Many training steps as one compiled loop over batches that already lie on the device, so that Python starts nothing in
between: Keras' own step under `lax.scan`."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import keras
import numpy as np

from lfwstudy.network.operations import Tensor

# Steps in one execution at most: what an interruption waits for.
LONGEST = 64
# Keras' lists of trainable, other, optimizer's and metrics' variables.
State = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
# Stacked batches: inputs by name, and targets, each of shape (steps, batch, ...).
Stacked = tuple[dict[str, np.ndarray], np.ndarray]


def lengths(steps: int, longest: int = LONGEST) -> list[int]:
    """An epoch's full batches split into executions of about equal length, of at most two different ones: each is a
    program to compile."""
    count = -(-steps // longest)
    return [len(some) for some in np.array_split(np.arange(steps), count)] if count else []


class Executions(keras.utils.PyDataset):
    """`Batches`, those of each execution stacked; a partial last batch is an execution of its own."""

    num_batches = None  # endless

    def __init__(self, batches: Any, longest: int = LONGEST) -> None:
        super().__init__()
        self.batches = batches
        full, partial = divmod(batches.pairs, batches.batch_size)
        self.lengths = lengths(full, longest) + [1] * (partial > 0)
        self.starts = np.cumsum([0, *self.lengths])

    def __getitem__(self, index: int) -> Stacked:
        epoch, run = divmod(index, len(self.lengths))
        first = epoch * self.batches.steps + int(self.starts[run])
        some = [self.batches[at] for at in range(first, first + self.lengths[run])]
        return jax.tree.map(lambda *of_each: np.stack(of_each), *some)


class ScannedSteps:
    """A train function for Keras' `fit` on `Executions`, compiled ahead.

    It returns the logs of an execution's last step, whose running means Keras would show there, too.
    """

    def __init__(self, trainer: keras.Model) -> None:
        self.trainer = trainer
        self.programs: dict[tuple[int, int], Callable[[State, Stacked], tuple[Any, State]]] = {}

    def compile(self, runs: Executions) -> None:
        """Compile the programs of an epoch that are still missing."""
        trainer = self.trainer
        trainer._symbolic_build(data_batch=runs.batches[0])  # as Keras' train_on_batch does: creates the metrics
        kinds = (
            trainer.trainable_variables,
            trainer.non_trainable_variables,
            trainer.optimizer.variables,
            trainer.metrics_variables,
        )
        state = tuple([variable.value for variable in kind] for kind in kinds)
        for data in map(runs.__getitem__, range(len(runs.lengths))):
            if _shape(data) not in self.programs:
                self.programs[_shape(data)] = jax.jit(self._many, donate_argnums=0).lower(state, data).compile()

    def __call__(self, state: State, iterator: Iterator[Any]) -> tuple[Any, State]:
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(next(iterator))
        return self.programs[_shape((inputs, targets))](state, (inputs, targets))

    def _many(self, state: State, data: Stacked) -> tuple[Any, State]:
        def one(state: State, batch: Any) -> tuple[State, Any]:
            logs, state = self.trainer.train_step(state, batch)
            return state, logs

        state, logs = jax.lax.scan(one, state, data)
        return jax.tree.map(lambda values: values[-1], logs), state


def _shape(data: Stacked) -> tuple[int, int]:
    """Steps, and pairs in a batch."""
    return data[1].shape[:2]
