"""A contestant's process: `python -m lfwstudy.bench.contestant NAME JOB.json BEGAN`.

It compiles, then trains a round for each line it reads and answers with the seconds per step; when its input ends, with its
other measurements. The job is a configuration and a precision.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.bench import AHEAD, BATCH, CEILING, OURS, PLAIN, STEPS, STEPS_QUEUED
from lfwstudy.config import PRECISIONS, RunConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.network.cost import matrix_product_gflops, tower_cost
from lfwstudy.network.operations import Operations, keras, operations
from lfwstudy.network.siamese import build_siamese, build_tower
from lfwstudy.system.backend import device_name, keep_compiled, seed_keras
from lfwstudy.system.files import replacing
from lfwstudy.system.machine import cpu_name, peak_memory_mb
from lfwstudy.training.batches import Batches, drawable_rows, gather_sets, training_batches
from lfwstudy.training.checkpoints import begin_weights, weights_path
from lfwstudy.training.scorer import Scorer
from lfwstudy.training.trainer import build_trainer

Sets = dict[str, Any]
# Trains at least a number of steps with a clock; measures the rest.
Contest = tuple[Callable[["StepClock", int], Any], Callable[[], dict[str, Any]]]


def main(ours: Callable[[RunConfig, Mapping[str, Any]], Contest], name: str, job: str, began: str) -> None:
    """Measure as contestant `name`.

    ours: makes our own step from a job. began: when the process was started, in seconds since the epoch; AHEAD if it was
    ahead of its turn, which a line announces.
    """
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    config, precision = RunConfig.from_dict(asked["config"]), asked["precision"]
    if name == CEILING:
        measure_peak(precision)
        return
    keep_compiled(cache_folder() / "compiled")
    if name != OURS and keras.backend.backend() == "tensorflow":
        from lfwstudy.network import tensorflow_ops

        tensorflow_ops.FOURIER_PAYS = float("inf")  # the others have Keras' own convolutions
    seed_keras(0)
    steps = (STEPS_QUEUED if on_gpu() else STEPS) + 1  # the first one's end starts the clock
    run, finish = ours(config, asked) if name == OURS else theirs(config, precision, name, steps)
    clock = StepClock()
    if began == AHEAD:
        sys.stdin.readline()
    start = time.time() if began == AHEAD else float(began)
    run(clock, 1)
    tell(first_step_seconds=clock.first_began - start, first_result_seconds=clock.first_ended - start)
    for _ in sys.stdin:
        run(clock, steps)
        tell(step_seconds=(clock.last - clock.first) / clock.steps)
    tell(peak_memory_mb=peak_memory_mb(), **finish())


def measure_peak(precision: str) -> None:
    """Tell the peak matrix rate in each precision, and again in `precision` for each line read."""
    large = {"size": 8192, "queued": 20} if on_gpu() else {}
    tell(gflops={p: round(matrix_product_gflops(p, **large), 1) for p in PRECISIONS}, device=device_name())
    for _ in sys.stdin:
        tell(gflops=matrix_product_gflops(precision, **large))


class OurStep:
    """The study's own training step. using: its operations, by default the backend's."""

    def __init__(self, config: RunConfig, precision: str, using: Operations | None = None) -> None:
        bank, pairs = prepare_bank(config.data), load_pairs(config.data)
        self.config, (self.images, self.sets) = config, gather_sets(bank, pairs)
        self.trainer = build_trainer(config, self.images, precision, 0, using)
        self.drawable = drawable_rows(config, self.images, pairs)

    def batches(self, steps: int) -> Batches:
        """So many batches an epoch, none of them partial."""
        training = self.config.training
        people = training.batch_size // training.pairs_per_person
        config = self.config.change({"training.drawn_people": steps * people} if training.drawn_people else {})
        left, right, label = (np.resize(values, steps * training.batch_size) for values in self.sets["train"])
        return training_batches(config, (left, right, label), self.images, 0, self.drawable)

    def run(self, clock: "StepClock", steps: int) -> None:
        """Train so many steps."""
        clock.lengths = [1] * steps
        self.trainer.operations.fit(self.trainer, self.batches(steps), callbacks=[clock])

    def finish(self) -> dict[str, Any]:
        """Everything else that is measured."""
        scorer = Scorer(self.trainer, self.sets)
        if on_gpu():
            scorer.scores("test")  # compiles every shape of a batch; on a CPU one shape's compilation is short
        scorer.warm_up()
        scoring = seconds(lambda: scorer.scores("test")) / len(self.sets["test"][2])
        gather, times = gathering(self.trainer, self.batches(1)[0][0])
        gather()
        return {
            "step_gflop": 6 * 2 * BATCH * tower_cost(self.config.model, self.images.side)[0] / 1e9,
            "score_seconds_per_pair": scoring,
            "images_seconds": min(seconds(gather) for _ in range(5)) / times,
            "device": device_name(),
            "backend": keras.backend.backend(),
            **checkpoint_seconds(self.trainer.siamese),
        }


def ours(config: RunConfig, asked: Mapping[str, Any]) -> Contest:
    """The study's own training step, as a job asks for it."""
    step = OurStep(config, asked["precision"])
    return step.run, step.finish


def theirs(config: RunConfig, precision: str, name: str, steps: int) -> Contest:
    """A Keras `fit` on float arrays: of our network, or of the published study's."""
    images, sets = gather_sets(prepare_bank(config.data), load_pairs(config.data))
    size = config.training.batch_size
    left, right, label = (np.resize(values, steps * size) for values in sets["train"])  # no partial batch
    arrays = [_floats(images, rows) for rows in (left, right)]
    targets = label.astype(np.float32)[:, None]
    plain = name == PLAIN
    model = plain_siamese(config, images.side) if plain else build_siamese(config.model, images.side, precision)
    optimizer, compiled = keras.optimizers.Adam(0.001), operations().jit_compile
    model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"], jit_compile=compiled)

    def run(clock: StepClock, steps: int) -> None:
        given = [a[: steps * size] for a in arrays]
        clock.lengths = [1] * steps
        model.fit(given, targets[: steps * size], batch_size=size, verbose=0, shuffle=False, callbacks=[clock])

    def finish() -> dict[str, Any]:
        given = [_floats(images, rows[:192]) for rows in sets["test"][:2]]
        model.predict([a[:BATCH] for a in given], batch_size=BATCH, verbose=0)
        scoring = seconds(lambda: model.predict(given, batch_size=BATCH, verbose=0))
        return {"score_seconds_per_pair": scoring / len(given[0])}

    return run, finish


def plain_siamese(config: RunConfig, side: int) -> "keras.Model":
    """The network as the published study calls it: one tower, called twice, in float32."""
    tower = build_tower(config.model, side, "float32")
    left, right = keras.Input((side, side, 1)), keras.Input((side, side, 1))
    distance = keras.ops.absolute(tower(left) - tower(right))
    return keras.Model([left, right], keras.layers.Dense(1, activation="sigmoid")(distance))


def gathering(trainer: Any, inputs: dict[str, Any]) -> tuple[Callable[[], Any], int]:
    """A function that gathers, scales and augments a batch's images as the training step does, and waits for them; and how
    many times it does so: once on TensorFlow, often on JAX, where the images stay on the device."""

    class Images(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.bank = trainer.bank

        def call(self, inputs: dict[str, Any]) -> Any:
            return keras.ops.concatenate([trainer.varied(inputs, side) for side in ("left", "right")], axis=0)

    model = Images()
    if keras.backend.backend() == "jax":
        import jax

        model(inputs)  # builds it
        gather = jax.jit(lambda bank, inputs: model.stateless_call([], [bank], inputs)[0])
        given, bank = jax.device_put(inputs), trainer.bank.value
        return lambda: jax.block_until_ready([gather(bank, given) for _ in range(STEPS_QUEUED)]), STEPS_QUEUED
    model.compile(jit_compile=operations().jit_compile)
    return lambda: model.predict_on_batch(inputs), 1


def checkpoint_seconds(siamese: Any) -> dict[str, float]:
    """Seconds that saving weights blocks training, until the file is durable, and for writing as many raw bytes."""
    blocked, durable, raw = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(3):
            began = time.perf_counter()
            file = begin_weights(folder, siamese, 1)
            blocked.append(time.perf_counter() - began)
            file.result()
            durable.append(time.perf_counter() - began)
            content = os.urandom(1 << 20) * (weights_path(folder, 1).stat().st_size >> 20)
            began = time.perf_counter()
            with replacing(folder / "raw") as temporary:
                temporary.write_bytes(content)
            raw.append(time.perf_counter() - began)
    measured = {"checkpoint_seconds": blocked, "checkpoint_file_seconds": durable, "plain_write_seconds": raw}
    return {name: min(values) for name, values in measured.items()}


class StepClock(keras.callbacks.Callback):
    """Notes when the first execution begins, and when the first and the last result arrive."""

    async_safe = True  # otherwise Keras waits for every execution
    first_began = first_ended = first = last = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.lengths = [1]  # steps in each execution

    @property
    def steps(self) -> int:
        """Number of steps between the first and the last result."""
        return sum(self.lengths[1:])

    def on_train_begin(self, logs: Any = None) -> None:
        self.first_began = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.first_began = self.first_began or time.time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch in (0, len(self.lengths) - 1):
            float(logs["loss"])
            now = time.perf_counter()
            # Keras calls from several threads, on a busy machine perhaps in another order.
            if batch == 0:
                self.first, self.first_ended = now, time.time()
            if batch == len(self.lengths) - 1:
                self.last = now


def on_gpu() -> bool:
    """Whether this process computes on a GPU."""
    return device_name() != cpu_name()


def seconds(call: Callable[[], Any]) -> float:
    """Duration of a call in seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def tell(**measured: Any) -> None:
    """Answer with a line of JSON."""
    print(json.dumps(measured), flush=True)


def _floats(images: ImageBank, rows: np.ndarray) -> np.ndarray:
    return images.images[rows].astype(np.float32)[..., None] / 255


if __name__ == "__main__":
    main(ours, *sys.argv[1:])
