"""How fast is this machine, and what stands between its arithmetic and a training step? Ratios within one run.

The full network is trained on demo faces (the pictures' content does not change the speed) for a few steps in three
ways, in turns: our own step, a bare Keras `fit` of the same network on float arrays (our layers, both twins in one batch,
same precision), and a plain script in the style of the published study (two tower calls, float32). Each has a process of
its own, as a training has, so that its memory and its settings of TensorFlow are its own. The matrix-product ceiling is
measured first, and once more in each turn: on shared machines it changes by a fifth within a minute.

`python -m lfwstudy.bench NAME CONFIG.json` is such a process: it compiles, then trains STEPS steps for each line it
reads and answers with the seconds of one, and with all else it measured when its input ends.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from lfwstudy.config import PRECISIONS, RunConfig
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError
from lfwstudy.network.cost import matrix_product_gflops, multiply_adds
from lfwstudy.system.backend import device_name, keep_compiled
from lfwstudy.system.files import replacing, write_json
from lfwstudy.system.machine import cpu_name, peak_memory_mb, versions
from lfwstudy.system.precision import precision_warning, resolve_precision
from lfwstudy.system.processes import environment, large_pages

BATCH, ROUNDS = 64, 5
# Timed steps in a round. An accelerator is given all of them ahead, and asked for the last one's result alone.
STEPS, STEPS_QUEUED = 2, 20
# Seconds after which no further round begins.
PATIENCE = 110
CEILING, OURS, BARE, PLAIN = "ceiling", "ours", "bare Keras fit", "plain script"


def bench(show=print, config=RunConfig()):
    """Measure and return a JSON-ready dict; `show` is called with lines of text on the way.

    config: what is trained, the full network unless something smaller is wanted for a try.
    """
    began = time.monotonic()
    prepare_bank(config.data), load_pairs(config.data)  # drawn or decoded before any clock runs
    precision = resolve_precision("auto")
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        write_json(job, {"config": config.to_dict(), "precision": precision})
        ceiling = _Contestant(CEILING, job)
        contestants = {name: _Contestant(name, job) for name in (OURS, BARE, PLAIN)}
        try:
            ceiling.start()
            show(f"{ceiling.told['device']}; convolutions in {precision}")
            for name, gflops in ceiling.told["gflops"].items():
                show(f"matrix-product ceiling in {name}: {gflops:,.0f} GFLOP/s")
            for name, contestant in contestants.items():
                contestant.start()
                show(f"{name}: its first step begins {contestant.told['first_step_seconds']:.1f} s after its process")
            ceilings, seconds = [], {name: [] for name in contestants}
            for round_ in range(ROUNDS):
                if round_ and time.monotonic() - began > PATIENCE:
                    break
                ceilings.append(ceiling.go()["gflops"])
                for name, contestant in contestants.items():
                    seconds[name].append(contestant.go()["step_seconds"])
            measured = {name: contestant.end() for name, contestant in contestants.items()}
        finally:
            for contestant in (ceiling, *contestants.values()):
                contestant.kill()
    result = summary(
        ceiling.told["gflops"] | {precision: round(float(np.median(ceilings)), 1)},
        ceilings,
        seconds,
        measured,
        precision,
    )
    for line in table(result):
        show(line)
    return result


def summary(ceiling, ceilings, seconds, measured, precision):
    """The measurements as one JSON-ready dict.

    ceiling: GFLOP/s of a matrix product by precision; ceilings: of one in the precision used, in each round; seconds: by
    contestant, of a step in each round; measured: by contestant, what it answered at its end.
    """
    ours, plain = measured[OURS], measured[PLAIN]
    step = {name: float(np.median(values)) for name, values in seconds.items()}
    shares = [ours["step_gflop"] / own / most for own, most in zip(seconds[OURS], ceilings)]

    def ratio(name):
        return float(np.median([other / own for own, other in zip(seconds[OURS], seconds[name])]))

    return {
        "machine": cpu_name(),
        "device": ours["device"],
        "backend": ours["backend"],
        "precision": precision,
        "warning": precision_warning(precision),
        "versions": versions(),
        "rounds": len(seconds[OURS]),
        "ceiling_gflops": ceiling,
        "step_gflop": round(ours["step_gflop"], 1),
        "step_seconds": {name: round(value, 6) for name, value in step.items()},
        "share_of_ceiling": round(float(np.median(shares)), 3),
        "shares_of_ceiling": [round(share, 3) for share in shares],
        "ours_to_bare_keras": round(1 / ratio(BARE), 3),
        "plain_script_to_ours": round(ratio(PLAIN), 3),
        "pictures_share_of_step": round(ours["pictures_seconds"] / step[OURS], 4),
        "first_step_seconds": {name: round(m["first_step_seconds"], 2) for name, m in measured.items()},
        "score_seconds_per_pair": round(ours["score_seconds_per_pair"], 7),
        "plain_score_seconds_per_pair": round(plain["score_seconds_per_pair"], 7),
        "plain_score_to_ours": round(plain["score_seconds_per_pair"] / ours["score_seconds_per_pair"], 2),
        "checkpoint_seconds": round(ours["checkpoint_seconds"], 3),
        "checkpoint_file_seconds": round(ours["checkpoint_file_seconds"], 3),
        "plain_write_seconds": round(ours["plain_write_seconds"], 3),
        "peak_memory_mb": {name: m["peak_memory_mb"] for name, m in measured.items()},
    }


def table(result):
    """The measurements as lines for a person; of an older version's, what they have."""
    step, memory, shares = result["step_seconds"], result["peak_memory_mb"], result.get("shares_of_ceiling")
    first = result["first_step_seconds"]
    spread = f" ({100 * min(shares):.0f} to {100 * max(shares):.0f} % in {len(shares)} rounds)" if shares else ""
    whole = result.get("checkpoint_file_seconds")
    disk = (
        f"its file is on the disk after {whole:.2f} s, as many plain bytes"
        if whole
        else "as many plain bytes are on the disk"
    )
    return [
        f"a training step of {BATCH} pairs takes {result['step_gflop']:,.0f} GFLOP; seconds, and peak memory of its process:",
        *(f"  {name:16s} {_short(seconds)} {memory[name]:7,.0f} MiB" for name, seconds in step.items()),
        f"the first step begins {first[OURS]:.1f} s after the start of its process ({BARE} {first[BARE]:.1f} s, {PLAIN} "
        f"{first[PLAIN]:.1f} s)",
        f"ours takes {result['ours_to_bare_keras']:.3f} times the time of a bare Keras fit",
        f"ours is {result['plain_script_to_ours']:.2f} times as fast as the plain script",
        f"ours does a step's arithmetic, as direct convolutions have it, at {100 * result['share_of_ceiling']:.0f} % of the "
        f"ceiling{spread}",
        f"gathering, scaling and varying pictures take {100 * result['pictures_share_of_step']:.1f} % of a step",
        f"scoring test pairs: {1000 * result['score_seconds_per_pair']:.3g} ms a pair, plain script "
        f"{1000 * result['plain_score_seconds_per_pair']:.3g} ms ({result['plain_score_to_ours']:.1f} times as fast)",
        f"a checkpoint stops training for {result['checkpoint_seconds']:.2f} s; {disk} after {result['plain_write_seconds']:.2f} s",
        *([f"warning: {result['warning']}"] if result["warning"] else []),
    ]


def _short(seconds):
    """Seconds of a step in seven characters and a unit."""
    return f"{seconds:7.3f} s " if seconds >= 0.1 else f"{1000 * seconds:7.2f} ms"


class _Contestant:
    """A process that trains a few steps whenever it is told to."""

    def __init__(self, name, job):
        self.name, self.job, self.process, self.told = name, job, None, None
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")

    def start(self):
        # What others would run has none of our settings, except that all have oneDNN's convolutions.
        ours = self.name in (OURS, CEILING)
        own = large_pages() if ours else {"TF_CPU_ALLOCATOR_USE_BFC": "false", "TF_DETERMINISTIC_OPS": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lfwstudy.bench", self.name, str(self.job), str(time.time())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(**own),
        )
        self.told = self._answer()

    def go(self):
        with suppress(BrokenPipeError):  # it is gone: no answer says so
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        return self._answer()

    def end(self):
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        return {**self.told, **self._answer()}

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def _answer(self):
        # Libraries may print, too.
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.errors.seek(0)
        raise RunError(f"bench: {self.name} failed (exit status {self.process.wait()}): {self.errors.read()[-600:]}")


def main(name, job, began):
    """What a contestant's process does."""
    job = json.loads(Path(job).read_text(encoding="utf-8"))
    config, precision = RunConfig.from_dict(job["config"]), job["precision"]
    # Imported here: the settings above must be in the environment before TensorFlow is.
    from lfwstudy.network.operations import keras
    from lfwstudy.training.batches import gather_sets

    accelerated = device_name() != cpu_name()
    steps = (STEPS_QUEUED if accelerated else STEPS) + 1  # the first one's end starts the clock
    if name == CEILING:
        large = {"size": 8192, "queued": 20} if accelerated else {}
        _tell(gflops={p: round(matrix_product_gflops(p, **large), 1) for p in PRECISIONS}, device=device_name())
        for _ in sys.stdin:
            _tell(gflops=matrix_product_gflops(precision, **large))
        return
    keep_compiled(cache_folder() / "compiled")
    if name != OURS and keras.backend.backend() == "tensorflow":
        from lfwstudy.network import tensorflow_ops

        tensorflow_ops.FOURIER_PAYS = float("inf")  # others have Keras' own convolutions
    keras.utils.set_random_seed(0)
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, sets = gather_sets(bank, pairs)
    sets["train"] = [np.resize(values, steps * BATCH) for values in sets["train"]]  # no batch is a partial one
    run, finish = (_ours if name == OURS else _theirs)(config, images, sets, precision, name == PLAIN)
    clock = _step_clock()
    run(clock, 1)
    _tell(first_step_seconds=clock.first_began - began)
    for _ in sys.stdin:
        run(clock, steps)
        _tell(step_seconds=(clock.last - clock.first) / (steps - 1))
    _tell(peak_memory_mb=peak_memory_mb(), **finish())


def _ours(config, images, sets, precision, _):
    from lfwstudy.network.operations import keras
    from lfwstudy.training.batches import training_batches
    from lfwstudy.training.scorer import Scorer
    from lfwstudy.training.trainer import build_trainer

    trainer = build_trainer(config, images, precision, 0)
    batches = training_batches(config, sets["train"], images, 0)

    def run(clock, steps):
        trainer.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[clock])

    def finish():
        scorer = Scorer(trainer, sets)
        if device_name() != cpu_name():
            scorer.scores(
                "test"
            )  # compiles each batch shape; on a processor, one shape's share of the seconds is small
        scorer.warm_up()
        scoring = _seconds(lambda: scorer.scores("test")) / len(sets["test"][2])
        side = {name: values[:BATCH] for name, values in batches[0][0].items()}
        pictures, queued = _compiled(keras, trainer, side)
        pictures()
        return {
            "step_gflop": 6 * 2 * BATCH * multiply_adds(trainer.siamese) / 1e9,
            "score_seconds_per_pair": scoring,
            "pictures_seconds": min(_seconds(pictures) for _ in range(5)) / queued,
            "device": device_name(),
            "backend": keras.backend.backend(),
            **_checkpoint(trainer.siamese),
        }

    return run, finish


def _theirs(config, images, sets, precision, plain):
    from lfwstudy.network.operations import keras, operations
    from lfwstudy.network.siamese import build_siamese

    left, right, label = sets["train"]
    arrays = [images.images[rows].astype(np.float32)[..., None] / 255 for rows in (left, right)]
    targets = label.astype(np.float32)[:, None]
    model = _plain_siamese(keras, config, images.side) if plain else build_siamese(config.model, images.side, precision)
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=operations().jit_compile,
    )

    def run(clock, steps):
        given = [a[: steps * BATCH] for a in arrays]
        model.fit(given, targets[: steps * BATCH], batch_size=BATCH, verbose=0, shuffle=False, callbacks=[clock])

    def finish():
        left, right, _ = (values[:192] for values in sets["test"])
        given = [images.images[rows].astype(np.float32)[..., None] / 255 for rows in (left, right)]
        model.predict([a[:BATCH] for a in given], batch_size=BATCH, verbose=0)
        return {
            "score_seconds_per_pair": _seconds(lambda: model.predict(given, batch_size=BATCH, verbose=0)) / len(left)
        }

    return run, finish


def _plain_siamese(keras, config, side):
    """The network as the published study calls it: one tower, called twice, in float32."""
    from lfwstudy.network.siamese import build_tower

    tower = build_tower(config.model, side, "float32")
    left, right = keras.Input((side, side, 1)), keras.Input((side, side, 1))
    distance = keras.ops.absolute(tower(left) - tower(right))
    return keras.Model([left, right], keras.layers.Dense(1, activation="sigmoid")(distance))


def _compiled(keras, trainer, inputs):
    """A function that gathers, scales and varies a batch's pictures as the training step does, and waits for them; and how
    many times it does so: once on TensorFlow, often on JAX, whose pictures stay on the device."""

    class Pictures(keras.Model):
        def __init__(self):
            super().__init__()
            self.bank = trainer.bank

        def call(self, inputs):
            return keras.ops.concatenate([trainer.varied(inputs, side) for side in ("left", "right")], axis=0)

    model = Pictures()
    if keras.backend.backend() == "jax":
        import jax

        model(inputs)  # builds it
        pictures = jax.jit(lambda bank, inputs: model.stateless_call([], [bank], inputs)[0])
        inputs = jax.device_put(inputs)
        return lambda: jax.block_until_ready(
            [pictures(trainer.bank.value, inputs) for _ in range(STEPS_QUEUED)]
        ), STEPS_QUEUED
    model.compile(jit_compile=keras.backend.backend() != "tensorflow")
    return lambda: model.predict_on_batch(inputs), 1


def _checkpoint(siamese):
    """Seconds that keeping the weights stops training for, until their file is on the disk, and that as many plain bytes take."""
    from lfwstudy.training.checkpoints import begin_weights, weights_path

    with tempfile.TemporaryDirectory() as folder:
        keep, whole, write, folder = [], [], [], Path(folder)
        for _ in range(3):
            settling = []
            keep.append(_seconds(lambda: settling.append(begin_weights(folder, siamese, 1))))
            whole.append(keep[-1] + _seconds(settling[0].result))
            content = os.urandom(1 << 20) * (weights_path(folder, 1).stat().st_size >> 20)
            write.append(_seconds(lambda: _write_whole(folder / "plain", content)))
    return {"checkpoint_seconds": min(keep), "checkpoint_file_seconds": min(whole), "plain_write_seconds": min(write)}


def _write_whole(path, content):
    """Write bytes as a run's files are written: on the disk before the file has its name."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _step_clock():
    import keras

    class StepClock(keras.callbacks.Callback):
        """Notes when the first step begins, and when its result and the last one's are there."""

        async_safe = True  # else Keras waits for every step

        def on_train_begin(self, logs=None):
            self.first_began = None

        def on_train_batch_begin(self, batch, logs=None):
            self.first_began = self.first_began or time.time()

        def on_train_batch_end(self, batch, logs=None):
            if batch in (0, self.params["steps"] - 1):
                float(logs["loss"])
                self.last = time.perf_counter()
                self.first = self.last if batch == 0 else self.first

    return StepClock()


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _tell(**measured):
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3], float(sys.argv[3]))
