"""One configuration in, one finished run out.

`python -m lfwstudy.train JOB.json` trains in a process of its own: the study's executors start it so.
"""

import os
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import numpy as np
from keras import ops

from . import evaluate, history
from .augment import PARAMETERS, clip_labels, draw_copies, vary
from .callbacks import Recorder, drop_weights, load_resume, load_weights, save_weights, weights_path
from .config import TRAINING_VERSION, RunConfig
from .datasets import load_pairs, prepare_bank
from .errors import RunError, StudyError
from .executors import end_with_parent
from .files import locked, read_json, replacing, write_csv, write_json
from .machine import device_name, peak_memory_mb, versions
from .model import build_siamese
from .runs import Store

PREDICTION_COLUMNS = ("set", "pair", "left", "right", "label", "score", "score_at_best")
EMBED_BATCH = 128


class PairTrainer(keras.Model):
    """The siamese network fed with indices: gathering, scaling and warping happen inside the compiled step.

    images: uint8 array (n, side, side), kept as one tensor next to the compute. Inputs are a dict of `left` and
    `right`, int32 (batch,), and where pictures are varied `left_warp` and `right_warp`, float32 (batch, 7). The output
    is the score's logit: a loss on clipped probabilities would pass no gradient for pairs that are surely wrong.
    """

    def __init__(self, siamese, images):
        super().__init__(name="pair_trainer")
        self.siamese = siamese
        self.bank = self.add_weight(shape=images.shape, dtype="uint8", trainable=False, initializer="zeros",
                                    name="bank")
        self.bank.assign(images)
        self.tower, head = siamese.get_layer("tower"), siamese.get_layer("head")
        self.logit = keras.Model(head.inputs, head.get_layer("logit").output)

    def call(self, inputs, training=False):
        left, right = (self.pictures(inputs[side], inputs.get(f"{side}_warp")) for side in ("left", "right"))
        both = self.tower(ops.concatenate([left, right], axis=0), training=training)
        size = ops.shape(both)[0] // 2
        return self.logit([both[:size], both[size:]])

    def pictures(self, rows, warp=None):
        """Pictures of the bank as float32 (n, side, side, 1) in [0, 1], varied where `warp` is given."""
        images = gather(self.bank, rows)
        return images if warp is None else vary(images, warp)


class IndexedTower(keras.Model):
    """Row numbers of pictures in, embeddings out; shares the pictures and weights of a PairTrainer."""

    def __init__(self, trainer):
        super().__init__(name="indexed_tower")
        self.bank = trainer.bank
        self.tower = trainer.siamese.get_layer("tower")

    def call(self, rows, training=False):
        return self.tower(gather(self.bank, rows), training=False)


class Batches(keras.utils.PyDataset):
    """Batches of index pairs without end; what is in one is a function of (seed, epoch, step).

    inputs: dict of arrays of the same length; targets: float32 (n, 2), what is trained towards and the hard label.
    An epoch is `steps` batches, the last partial one included. One iterator serves all epochs: making one anew costs
    TensorFlow up to two seconds.
    """

    num_batches = None

    def __init__(self, inputs, targets, batch_size, seed):
        super().__init__()
        self.inputs, self.targets, self.batch_size, self.seed = inputs, targets, batch_size, seed
        self.steps = -(-len(targets) // batch_size)
        self.done = 0

    def go_on_after(self, epochs):
        """Let the first batch be that of the epoch after `epochs` trained ones."""
        self.done = epochs

    def __getitem__(self, index):
        epoch, step = divmod(index, self.steps)
        order = self._order(self.done + epoch + 1)
        rows = order[step * self.batch_size:(step + 1) * self.batch_size]
        return {name: values[rows] for name, values in self.inputs.items()}, self.targets[rows]

    def _order(self, epoch):
        """The order of an epoch, counted from 1; the last one is kept, for the batches that follow."""
        if getattr(self, "_kept", (None,))[0] != epoch:
            self._kept = epoch, np.random.default_rng([self.seed, 30, epoch]).permutation(len(self.targets))
        return self._kept[1]


class Scorer:
    """Scores pairs with the current weights: each different picture is embedded once.

    trainer: PairTrainer; parts: dict from set name to (left rows, right rows, label).
    """

    def __init__(self, trainer, parts):
        self.trainer, self.parts = trainer, parts
        self.indexed = IndexedTower(trainer)
        self.head = trainer.siamese.get_layer("head")

    def scores(self, part):
        """Probability of "same" for each pair of a set: float64 (n,)."""
        left, right, _ = self.parts[part]
        rows, at = np.unique(np.concatenate([left, right]), return_inverse=True)
        embeddings = self.embed(rows)
        a, b = embeddings[at[:len(left)]], embeddings[at[len(left):]]
        return np.asarray(self.head([a, b], training=False), np.float64)[:, 0]

    def embed(self, rows):
        """Embeddings of pictures by row number in inference mode: float32 (n, d)."""
        return self.indexed.predict(rows.astype(np.int32), batch_size=min(EMBED_BATCH, len(rows)), verbose=0)

    def penalty(self):
        """The weights' penalty in the loss."""
        return float(sum(float(value) for value in self.trainer.siamese.losses))

    def validate(self):
        """Total loss, cross-entropy and accuracy on validation, against hard labels."""
        label, score = self.parts["val"][2], self.scores("val")
        entropy = evaluate.cross_entropy(label, score)
        return {"val_loss": entropy + self.penalty(), "val_cross_entropy": entropy,
                "val_accuracy": evaluate.accuracy(label, score)}


def gather(bank, rows):
    """Pictures of a uint8 bank by row number, as float32 (n, side, side, 1) in [0, 1]."""
    images = ops.take(bank, rows, axis=0)
    return ops.expand_dims(ops.cast(images, "float32") / 255.0, axis=-1)


def cross_entropy(targets, logit):
    """Binary cross-entropy against what is trained towards, the first column of `targets`: shape (n,)."""
    return keras.losses.binary_crossentropy(targets[:, :1], logit, from_logits=True)


def hard_accuracy(targets, logit):
    """Right or wrong against the hard label, the second column of `targets`: shape (n,)."""
    return ops.cast(ops.equal(logit[:, 0] > 0.0, targets[:, 1] > 0.5), "float32")


def train(config, seed, precision, bank, pairs, folder, run_id="", score_test=True, keep_weights=True):
    """Train one configuration in this process, going on from the resume state in `folder` where there is one.

    config: RunConfig; bank: ImageBank; pairs: StudyPairs; folder: the run's folder, made where missing. Writes
    config.json, history.csv, predictions.csv, result.json and, with `keep_weights`, model.keras.
    """
    pairs.require_protocol(config.data.protocol)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"run": run_id, "version": TRAINING_VERSION, "config": config.to_dict(),
                                        "seed": seed, "precision": precision, "data_digest": pairs.digest(bank)})
    keras.utils.set_random_seed(seed)
    images, parts = gather_parts(bank, pairs)
    trainer = build_trainer(config, images, precision, seed)
    scorer = Scorer(trainer, parts)
    batches = training_batches(config, parts["train"], images.side, seed)
    rows = fit(config.training, trainer, scorer, batches, folder)
    evaluated = history.evaluated_epoch(rows, config.training)
    if not weights_path(folder, evaluated).exists():
        save_weights(folder, trainer.siamese, evaluated)  # the last epoch's, still in memory
    measured = {"seed": seed, "precision": precision, "backend": keras.backend.backend(), "device": device_name(),
                "status": "diverged" if history.diverged(rows) else "finished",
                "epochs_run": len(rows), "epochs_max": config.training.epochs, "evaluated_epoch": evaluated,
                "best_epoch": history.best_epoch(rows), **durations(rows), "versions": versions()}
    finish(measured, scorer, pairs, folder, run_id, score_test, keep_weights)


def score_test_pairs(config, bank, pairs, folder, run_id="", keep_weights=True):
    """Add the test pairs' scores to a run that was finished without them, without training."""
    pairs.require_protocol(config.data.protocol)
    folder = Path(folder)
    measured = read_json(folder / "result.json")
    images, parts = gather_parts(bank, pairs)
    trainer = build_trainer(config, images, measured["precision"], measured["seed"])
    finish(measured, Scorer(trainer, parts), pairs, folder, run_id, True, keep_weights)


def gather_parts(bank, pairs):
    """The bank of the pictures that the pairs name, and per set (left rows, right rows, label)."""
    images = bank.subset(pairs.names())
    return images, {name: (images.rows(part.left), images.rows(part.right), part.label)
                    for name, part in pairs.parts()}


def build_trainer(config, images, precision, seed):
    """A compiled PairTrainer for a RunConfig over an ImageBank, its optimiser built."""
    siamese = build_siamese(config.model, images.side, precision, seed)
    trainer = PairTrainer(siamese, images.images)
    trainer.compile(optimizer=keras.optimizers.Adam(config.training.learning_rate), loss=cross_entropy,
                    metrics=[keras.metrics.MeanMetricWrapper(cross_entropy, name="cross_entropy"),
                             keras.metrics.MeanMetricWrapper(hard_accuracy, name="accuracy")],
                    # XLA's convolutions are slower than oneDNN's on a CPU; JAX knows nothing else.
                    jit_compile=keras.backend.backend() != "tensorflow")
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def training_batches(config, part, side, seed):
    """The training side as Batches: originals and augmented copies with their targets.

    part: (left rows, right rows, label) of the training pairs.
    """
    left, right, label = part
    copies = config.training.augmented_copies
    inputs = {"left": np.repeat(left, copies + 1).astype(np.int32),
              "right": np.repeat(right, copies + 1).astype(np.int32)}
    if copies:
        warps = draw_copies(seed, len(label), copies, side, config.training.zoom, config.training.brightness,
                            config.training.shear).reshape(-1, 2, PARAMETERS)
        inputs["left_warp"], inputs["right_warp"] = warps[:, 0], warps[:, 1]
    hard = np.repeat(label, copies + 1).astype(np.float32)
    is_copy = np.tile(np.arange(copies + 1) > 0, len(label))
    epsilon = np.where(is_copy, config.training.label_epsilon_copies, config.training.label_epsilon_originals)
    targets = np.stack([clip_labels(hard, epsilon), hard], axis=1).astype(np.float32)
    return Batches(inputs, targets, config.training.batch_size, seed)


def fit(training, trainer, scorer, batches, folder):
    """Train until the epochs or the patience are over; returns the history's rows."""
    recorder = Recorder(folder, training, trainer.siamese, scorer.validate, len(batches.targets))
    try:
        recorder.rows = load_resume(folder, trainer, training)
    except RunError as error:
        print(f"{error}; this run starts anew", file=sys.stderr)
    done = len(recorder.rows)
    recorder.saved_resume = (done, time.monotonic())
    over = history.should_stop(recorder.rows, training.patience) or history.diverged(recorder.rows)
    if done < training.epochs and not over:
        # Compiled before the clock of the first epoch runs.
        scorer.embed(np.unique(scorer.parts["val"][0])[:EMBED_BATCH])
        batches.go_on_after(done)
        trainer.fit(batches, epochs=training.epochs, initial_epoch=done, steps_per_epoch=batches.steps, shuffle=False,
                    verbose=0, callbacks=[recorder])
    return recorder.rows


def finish(measured, scorer, pairs, folder, run_id, score_test, keep_weights):
    """Score the evaluated and the best epoch's weights and write predictions.csv and result.json.

    measured: what is known of the run so far; a previous result.json will do.
    """
    siamese = scorer.trainer.siamese
    names = [name for name, _ in pairs.parts() if score_test or name != "test"]
    scores, penalties = {}, {}
    for epoch in sorted({measured["evaluated_epoch"], measured["best_epoch"]} - {None}):
        load_weights(folder, siamese, epoch)
        scores[epoch] = {name: scorer.scores(name) for name in names}
        penalties[epoch] = scorer.penalty()
        if keep_weights and epoch == measured["best_epoch"]:
            with replacing(folder / "model.keras") as temporary:
                siamese.save(temporary)
    nothing = {name: np.full(len(scorer.parts[name][2]), np.nan) for name in names}
    at = {"score": scores[measured["evaluated_epoch"]], "score_at_best": scores.get(measured["best_epoch"], nothing)}
    write_predictions(folder / "predictions.csv", pairs, at)
    labels = {name: scorer.parts[name][2] for name in names}
    write_json(folder / "result.json", {
        "run": run_id, **measured, "parameters": siamese.count_params(),
        **measure(labels, at, penalties[measured["evaluated_epoch"]]),
        "peak_memory_mb": measured.get("peak_memory_mb") or peak_memory_mb()})
    (folder / "resume.npz").unlink(missing_ok=True)
    # Without test scores both epochs' weights are still needed: a later command adds the scores.
    drop_weights(folder, keep=() if score_test else scores)


def measure(labels, at, penalty):
    """The scores' part of result.json. labels: by set; at: by column, by set; penalty: of the evaluated weights."""
    result = {}
    for name in ("train", "val", "test"):
        known = name in labels
        summary = evaluate.summarise(labels[name], at["score"][name]) if known else {}
        result[f"{name}_accuracy"] = summary.get("accuracy")
        result[f"{name}_cross_entropy"] = summary.get("cross_entropy")
        result[f"{name}_loss"] = summary["cross_entropy"] + penalty if known else None
        result[f"{name}_accuracy_at_best"] = (
            evaluate.accuracy(labels[name], at["score_at_best"][name]) if known else None)
        if name == "test":
            result |= {f"test_{key}": summary.get(key) for key in ("auc", "eer", "tpr", "tnr")}
            accuracy = summary.get("accuracy")
            finite = accuracy is not None and np.isfinite(accuracy)
            low, high = evaluate.wilson(round(accuracy * len(labels[name])), len(labels[name])) if finite else (
                (None, None) if not known else (float("nan"), float("nan")))
            result |= {"test_ci_low": low, "test_ci_high": high}
    return result


def durations(rows):
    """Seconds of the history's rows: per epoch, in all, and until the best epoch's end."""
    each = [row["seconds"] for row in rows]
    best = history.best_epoch(rows)
    return {"seconds_per_epoch": sum(each) / len(each), "seconds_total": sum(each),
            "seconds_to_best": sum(each[:best]) if best else None}


def write_predictions(path, pairs, at):
    """predictions.csv: one row per scored pair, with the scores of the evaluated and of the best epoch."""
    rows = []
    for name, part in pairs.parts():
        if name in at["score"]:
            for i in range(len(part)):
                rows.append({"set": name, "pair": int(part.line[i]), "left": part.left[i], "right": part.right[i],
                             "label": int(part.label[i]), "score": float(at["score"][name][i]),
                             "score_at_best": float(at["score_at_best"][name][i])})
    write_csv(path, PREDICTION_COLUMNS, rows)


def main(path):
    """Train the job described by a JSON file; exit status 0, or 2 with one line where the input cannot be used."""
    job = read_json(path)
    if job.get("ends_with_parent"):
        threading.Thread(target=end_with_parent, args=(job.get("lease"),), daemon=True).start()
    try:
        config = RunConfig.from_dict(job["config"])
        bank = prepare_bank(config.data, job["data_dir"])
        pairs = load_pairs(config.data, job["data_dir"])
        run_id = config.identify(job["seed"], job["precision"], pairs.digest(bank))
        if run_id != job["run"]:
            raise RunError(f"run {job['run']} was asked for, but its data have changed meanwhile")
        # A process whose study was killed needs a moment to notice; two must not write one run.
        with locked(Path(job["folder"]) / ".lock", patience=job.get("patience", 30)):
            if job["task"] == "train" and Store(Path(job["folder"]).parent).is_finished(run_id):
                return 0  # by the process that held the lock until now
            for left_over in Path(job["folder"]).glob(".[0-9]*.*"):  # of a process that was killed while writing
                left_over.unlink()
            if job["task"] == "score-test":
                score_test_pairs(config, bank, pairs, job["folder"], run_id, job["keep_weights"])
            else:
                train(config, job["seed"], job["precision"], bank, pairs, job["folder"], run_id,
                      job["score_test"], job["keep_weights"])
    except BlockingIOError:
        print(f"error: another process trains run {job['run']}", file=sys.stderr)
        return 2
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
