"""How fast is this machine, and what stands between its arithmetic and a training step? Ratios within one run.

The full network is trained on demo faces (the pictures' content does not change the speed) for a few steps in three
ways, in turns: our own step, a bare Keras `fit` of the same network on float arrays (both twins in one batch, same
precision), and a plain script in the style of the published study (two tower calls, float32).
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from .config import RunConfig
from .datasets import load_pairs, prepare_bank
from .machine import cpu_name, peak_memory_mb, resolve_precision, versions
from .model import build_siamese, build_tower, multiply_adds
from .train import Scorer, build_trainer, gather_parts, training_batches

BATCH, STEPS, ROUNDS = 64, 4, 3


def bench(show=print, config=RunConfig()):
    """Measure and return a JSON-ready dict; `show` is called with lines of text on the way.

    config: what is trained, the full network unless something smaller is wanted for a try.
    """
    keras.utils.set_random_seed(0)
    precision = resolve_precision("auto")
    result = {"machine": cpu_name(), "backend": keras.backend.backend(), "precision": precision,
              "versions": versions(), "ceiling_gflops": {}}
    show(f"{result['machine']}, {result['backend']}; convolutions in {precision}")
    for name in ("float32", "bfloat16"):
        result["ceiling_gflops"][name] = round(matrix_product_gflops(name), 1)
        show(f"matrix-product ceiling in {name}: {result['ceiling_gflops'][name]:,.0f} GFLOP/s")
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, parts = gather_parts(bank, pairs)
    runners, siamese, scorers = _runners(config, images, parts, precision)
    seconds = {name: [] for name in runners}
    for name, run in runners.items():
        run()  # compiles
    for _ in range(ROUNDS):
        for name, run in runners.items():
            seconds[name].append(run())
    step = {name: float(np.median(values)) for name, values in seconds.items()}
    gflop = 6 * 2 * BATCH * multiply_adds(siamese) / 1e9
    ratios = [ours / bare for ours, bare in zip(seconds["ours"], seconds["bare Keras fit"])]
    result |= {"step_seconds": {name: round(value, 4) for name, value in step.items()},
               "step_gflop": round(gflop, 1),
               "share_of_ceiling": round(gflop / step["ours"] / result["ceiling_gflops"][precision], 3),
               "ours_to_bare_keras": round(float(np.median(ratios)), 3),
               "plain_script_to_ours": round(step["plain script"] / step["ours"], 3)}
    result |= _evaluation(scorers, parts)
    result["peak_memory_mb"] = peak_memory_mb()
    for line in table(result):
        show(line)
    return result


def table(result):
    """The measurements as lines for a person."""
    step = result["step_seconds"]
    return [f"a training step of {BATCH} pairs takes {result['step_gflop']:,.0f} GFLOP",
            *(f"  {name:16s} {seconds:7.3f} s" for name, seconds in step.items()),
            f"ours against a bare Keras fit: {result['ours_to_bare_keras']:.3f} times its time",
            f"ours against the plain script: {result['plain_script_to_ours']:.2f} times as fast",
            f"ours reaches {100 * result['share_of_ceiling']:.0f} % of the matrix-product ceiling",
            f"scoring test pairs: {1000 * result['score_seconds_per_pair']:.1f} ms a pair, plain script "
            f"{1000 * result['plain_score_seconds_per_pair']:.1f} ms "
            f"({result['plain_score_seconds_per_pair'] / result['score_seconds_per_pair']:.1f} times as fast)",
            f"peak memory of all of this in one process: {result['peak_memory_mb']:,.0f} MiB"]


def matrix_product_gflops(dtype, size=2048, repeats=8):
    """Best of several square matrix products in a precision, in GFLOP/s."""
    from keras import ops
    a = ops.cast(np.random.default_rng(0).standard_normal((size, size)), dtype)
    np.asarray(ops.cast(ops.matmul(a, a)[0, 0], "float32"))
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        np.asarray(ops.cast(ops.matmul(a, a)[0, 0], "float32"))
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds) / 1e9


def _runners(config, images, parts, precision):
    """Functions that train STEPS steps and return the seconds of one, by name; our siamese network; what scores pairs (ours, the plain one, pictures)."""
    count = STEPS * BATCH
    left, right, label = (values[:count] for values in parts["train"])
    trainer = build_trainer(config, images, precision, 0)
    batches = training_batches(config, (left, right, label), images, 0)
    arrays = [images.images[rows].astype(np.float32)[..., None] / 255 for rows in (left, right)]
    targets = label.astype(np.float32)[:, None]
    bare = build_siamese(config.model, images.side, precision)
    plain = _plain_siamese(config, images.side)
    for model in (bare, plain):
        model.compile(optimizer=keras.optimizers.Adam(0.001), loss="binary_crossentropy", metrics=["accuracy"],
                      jit_compile=keras.backend.backend() != "tensorflow")
    return {"ours": lambda: _step_seconds(trainer, batches, steps_per_epoch=STEPS),
            "bare Keras fit": lambda: _step_seconds(bare, arrays, targets, batch_size=BATCH),
            "plain script": lambda: _step_seconds(plain, arrays, targets, batch_size=BATCH)}, \
        trainer.siamese, (Scorer(trainer, parts), plain, images)


def _step_seconds(model, *given, **settings):
    """Median seconds of a training step within one `fit`, which a whole training calls once; the first step is left out."""
    clock = _StepClock()
    model.fit(*given, **settings, verbose=0, shuffle=False, callbacks=[clock])
    return float(np.median(np.diff(clock.ends)))


class _StepClock(keras.callbacks.Callback):
    """Notes when each step's result is there."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def _plain_siamese(config, side):
    """The network as the published study calls it: one tower, called twice, in float32."""
    tower = build_tower(config.model, side, "float32")
    left, right = keras.Input((side, side, 1)), keras.Input((side, side, 1))
    distance = keras.ops.absolute(tower(left) - tower(right))
    return keras.Model([left, right], keras.layers.Dense(1, activation="sigmoid")(distance))


def _evaluation(scorers, parts):
    """Seconds per scored test pair: each different picture embedded once, and as the plain script does it."""
    scorer, plain, images = scorers
    left, right, _ = parts["test"]
    scorer.embed(np.unique(left)[:128])
    began = time.perf_counter()
    scorer.scores("test")
    ours = (time.perf_counter() - began) / len(left)
    count = 192
    arrays = [images.images[rows[:count]].astype(np.float32)[..., None] / 255 for rows in (left, right)]
    plain.predict([a[:BATCH] for a in arrays], batch_size=BATCH, verbose=0)
    began = time.perf_counter()
    plain.predict(arrays, batch_size=BATCH, verbose=0)
    return {"score_seconds_per_pair": round(ours, 5),
            "plain_score_seconds_per_pair": round((time.perf_counter() - began) / count, 5)}
