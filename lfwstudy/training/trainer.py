"""One configuration in, one finished run out."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# Keeps freed memory for the next tensor: handing 100 MB pieces back to the system and faulting them in again took
# a quarter of a step.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
# TensorFlow leaves oneDNN's convolutions off on processors without AVX512-VNNI, where they are as good: on one with AVX2
# alone a step of the small networks is five times faster with them, one of the full network 1.3 times.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from lfwstudy.system.backend import device_name, import_keras, keep_compiled, keras_backend, left_out
from lfwstudy.system.machine import cores, peak_memory_mb, versions

# JAX is looked for by TensorFlow; where it is the backend, Keras loads it.
with left_out("IPython", "matplotlib", "pandas", "sklearn", *(["jax"] if keras_backend() == "tensorflow" else [])):
    keras = import_keras()
import numpy as np
from keras import ops

from lfwstudy.config import TRAINING_VERSION
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.pairs import person_of
from lfwstudy.errors import DamageError, RunError
from lfwstudy.evaluation import metrics
from lfwstudy.network.siamese import build_siamese, unit_length
from lfwstudy.system.files import read_json, replacing, set_aside_content, write_csv, write_json
from lfwstudy.training import decisions
from lfwstudy.training.augment import PARAMETERS, blank, clip_labels, draw_copies, draw_online, draw_rectangles, vary
from lfwstudy.training.recorder import Recorder, drop_weights, load_resume, load_weights, save_weights, weights_path

PREDICTION_COLUMNS = ("set", "pair", "left", "right", "label", "score", "score_at_best")
EMBED_BATCH = 128


class PairTrainer(keras.Model):
    """The siamese network fed with indices: gathering, scaling and warping happen inside the compiled step.

    images: uint8 array (n, side, side), kept as one tensor next to the compute. Inputs are a dict of `left` and
    `right`, int32 (batch,), and for each side, where pictures are varied, `left_warp`, float32 (batch, 7), where they
    are erased `left_erase`, float32 (batch, 4), where grey levels are stretched `left_stretch`, bool (batch,), and where
    people are contrasted `left_person`, int32 (batch,). The output is the score's logit: a loss on clipped probabilities
    would pass no gradient for pairs that are surely wrong. With `strangers`, for batches of matched pairs of different
    people, it is (batch, 2, 1): of the pair, and of its left picture and the right one of the pair before it.
    batch_size: pairs a batch; large ones go through the base network's first blocks as fused.first_blocks does it.
    separate_twins: as in TrainingConfig.
    """

    def __init__(
        self, siamese, images, contrast=0.0, temperature=0.1, strangers=False, batch_size=64, separate_twins=False
    ):
        super().__init__(name="pair_trainer")
        self.siamese, self.contrast, self.temperature = siamese, contrast, temperature
        self.strangers = strangers
        # Without batch-norm it makes no difference, and one batch is faster.
        self.separate_twins = separate_twins and any(
            "norm" in layer.name for layer in siamese.get_layer("tower").layers
        )
        self.bank = self.add_weight(
            shape=images.shape, dtype="uint8", trainable=False, initializer="zeros", name="bank"
        )
        self.bank.assign(images)
        self.tower, head = siamese.get_layer("tower"), siamese.get_layer("head")
        self.logit = keras.Model(head.inputs, head.get_layer("logit").output)
        self.blocks = fused_blocks(self.tower, batch_size)
        if self.blocks:
            self.after_blocks = after_blocks(self.tower, self.blocks)

    def call(self, inputs, training=False):
        twins = [self.pictures(inputs, side) for side in ("left", "right")]
        pictures = ops.concatenate(twins, axis=0)
        if training and self.separate_twins:
            both = ops.concatenate([self.tower(twin, training=True) for twin in twins], axis=0)
        elif training and self.blocks:
            from lfwstudy.network.tensorflow_ops import first_blocks

            both = self.after_blocks(first_blocks(self.blocks, pictures), training=True)
        else:
            both = self.tower(pictures, training=training)
        if training and self.contrast:
            people = ops.concatenate([inputs["left_person"], inputs["right_person"]], axis=0)
            self.add_loss(self.contrast * contrast_loss(both, people, self.temperature))
        size = ops.shape(both)[0] // 2
        left, right = both[:size], both[size:]
        logit = self.logit([left, right], training=training)
        if self.strangers:  # not in training alone: on JAX, Keras asks for the shape of what is not trained
            return ops.stack([logit, self.logit([left, ops.roll(right, 1, axis=0)], training=training)], axis=1)
        return logit

    def pictures(self, inputs, side):
        """One side's pictures as float32 (n, side, side, 1) in [0, 1], varied where the inputs say how."""
        images = gather(self.bank, inputs[side])
        if f"{side}_warp" in inputs:
            images = vary(images, inputs[f"{side}_warp"], inputs.get(f"{side}_stretch"))
        return blank(images, inputs[f"{side}_erase"]) if f"{side}_erase" in inputs else images


def fused_blocks(tower, batch_size):
    """The first blocks of a tower that fused.first_blocks is to train, to save memory or time: lists of a convolution, its
    ReLU and its pooling.

    Koch's network without a normalisation between them, which would need the whole batch, on TensorFlow: the first block,
    and the second, whose convolution takes most of the arithmetic, where Fourier's transform makes it cheap to compute twice.
    """
    if keras.backend.backend() != "tensorflow":
        return []
    from lfwstudy.network.tensorflow_ops import PICTURES_AT_ONCE

    layers = tower.layers[1:7]
    plain = [layer.name for layer in layers] == [name + number for number in "12" for name in ("conv", "relu", "pool")]
    if not plain or 2 * batch_size <= PICTURES_AT_ONCE:  # one slice would only be computed twice
        return []
    blocks = [layers[:3], layers[3:]]
    return blocks if layers[3].by_fourier(layers[3].input.shape) else blocks[:1]


def after_blocks(tower, blocks):
    """What follows a tower's first blocks, its layers in another order: as in these, pooling goes before the ReLU. That is
    the same, and leaves the ReLU and its gradient a quarter of the values."""
    layers = tower.layers[1 + sum(map(len, blocks)) :]
    for at, layer in enumerate(layers[1:]):
        if isinstance(layer, keras.layers.MaxPooling2D):
            layers[at : at + 2] = layer, layers[at]
    before = blocks[-1][-1].output
    given = x = keras.Input(before.shape[1:], dtype=before.dtype)
    for layer in layers:
        x = layer(x)
    return keras.Model(given, x)


class IndexedTower(keras.Model):
    """Row numbers of pictures in, embeddings out; shares the pictures and weights of a PairTrainer."""

    def __init__(self, trainer):
        super().__init__(name="indexed_tower")
        self.bank = trainer.bank
        self.tower = trainer.siamese.get_layer("tower")
        self.mirrors = any(layer.name == "flip_average" for layer in trainer.siamese.layers)

    def call(self, rows, training=False):
        images = gather(self.bank, rows)
        embeddings = self.tower(images, training=False)
        if self.mirrors:
            embeddings = (embeddings + self.tower(ops.flip(images, axis=2), training=False)) / 2
        return embeddings


class Batches(keras.utils.PyDataset):
    """Batches of index pairs without end; what is in one is a function of (seed, epoch, step).

    epoch_arrays: function of an epoch, counted from 1, to (inputs, targets): a dict of arrays of the same length, and
    float32 (n, 2) or, with strangers, (n, 2, 2), what is trained towards and the hard label; n = `pairs` in every epoch.
    An epoch is `steps` batches, the last partial one included. One iterator serves all epochs.
    """

    num_batches = None

    def __init__(self, epoch_arrays, pairs, batch_size):
        super().__init__()
        self.epoch_arrays, self.pairs, self.batch_size = epoch_arrays, pairs, batch_size
        self.steps = -(-pairs // batch_size)
        self.done = 0

    def go_on_after(self, epochs):
        """Let the first batch be that of the epoch after `epochs` trained ones."""
        self.done = epochs

    def __getitem__(self, index):
        epoch, step = divmod(index, self.steps)
        inputs, targets = self._epoch(self.done + epoch + 1)
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        return {name: values[rows] for name, values in inputs.items()}, targets[rows]

    def _epoch(self, epoch):
        """The arrays of an epoch in its order; the last ones are kept, for the batches that follow."""
        if getattr(self, "_kept", (None,))[0] != epoch:
            self._kept = epoch, self.epoch_arrays(epoch)
        return self._kept[1]


class Scorer:
    """Scores pairs with the current weights: each different picture is embedded once.

    trainer: PairTrainer; parts: dict from set name to (left rows, right rows, label); cohort: rows of the pictures that a
    head with a cohort compares with. A cosine head is given these and calibrated on validation whenever that is scored.
    """

    def __init__(self, trainer, parts, cohort=None):
        self.trainer, self.parts, self.cohort = trainer, parts, cohort
        self.indexed = IndexedTower(trainer)
        self.head = trainer.siamese.get_layer("head")

    def scores(self, part):
        """Probability of "same" for each pair of a set: float64 (n,)."""
        return np.asarray(self.head(self.embedded(part), training=False), np.float64)[:, 0]

    def embedded(self, part):
        """Embeddings of a set's left and right pictures: two float32 (n, d)."""
        left, right, _ = self.parts[part]
        rows, at = np.unique(np.concatenate([left, right]), return_inverse=True)
        embeddings = self.embed(rows)
        return [embeddings[at[: len(left)]], embeddings[at[len(left) :]]]

    def calibrate(self):
        """Fit a cosine head's scale and shift to validation's labels (Platt 1999), its cohort embedded anew before; other
        heads have nothing to fit."""
        if self.cohort is not None:
            self.head.get_layer("cosine").cohort.assign(unit_length(self.embed(self.cohort)))
        layer = next((layer for layer in self.head.layers if layer.name == "calibration"), None)
        if layer is not None:
            logit = np.asarray(self.trainer.logit(self.embedded("val"), training=False), np.float64)
            scale, shift = metrics.platt(self.parts["val"][2], logit[:, 0])
            layer.scale.assign(scale), layer.shift.assign(shift)

    def embed(self, rows):
        """Embeddings of pictures by row number in inference mode: float32 (n, d)."""
        rows = rows.astype(np.int32)
        # `predict` would build a data set each time: four fifths of the time of a small network's validation.
        return np.concatenate(
            [self.indexed.predict_on_batch(rows[at : at + EMBED_BATCH]) for at in range(0, len(rows), EMBED_BATCH)]
        )

    def penalty(self):
        """The weights' penalty in the loss."""
        return float(sum(map(float, self.trainer.siamese.losses)))

    def validate(self):
        """Total loss, cross-entropy and accuracy on validation, against hard labels; the penalty in the loss and its head's part."""
        self.calibrate()
        label, score = self.parts["val"][2], self.scores("val")
        entropy, penalty = metrics.cross_entropy(label, score), self.penalty()
        return {
            "val_loss": entropy + penalty,
            "val_cross_entropy": entropy,
            "val_accuracy": metrics.accuracy(label, score),
            "penalty": penalty,
            "head_penalty": float(sum(map(float, self.head.losses))),
        }


def gather(bank, rows):
    """Pictures of a uint8 bank by row number, as float32 (n, side, side, 1) in [0, 1]."""
    images = ops.take(bank, rows, axis=0)
    return ops.expand_dims(ops.cast(images, "float32") / 255.0, axis=-1)


def cross_entropy(targets, logit):
    """Binary cross-entropy against what is trained towards, the first of `targets`' last axis: logit's shape less its last axis."""
    return keras.losses.binary_crossentropy(targets[..., :1], logit, from_logits=True)


def hard_accuracy(targets, logit):
    """Right or wrong against the hard label, the second of `targets`' last axis: logit's shape less its last axis."""
    return ops.cast(ops.equal(logit[..., 0] > 0.0, targets[..., 1] > 0.5), "float32")


def contrast_loss(embeddings, people, temperature):
    """How badly each picture tells its own person from the others of the batch: a scalar.

    embeddings: float32 (n, d); people: int32 (n,). The supervised contrastive loss (Khosla et al. 2020, equation 2),
    averaged over the pictures whose person has another picture in the batch.
    """
    unit = unit_length(ops.cast(embeddings, "float32"))
    similarity = ops.matmul(unit, ops.transpose(unit)) / temperature
    count = ops.shape(unit)[0]
    itself = ops.equal(ops.arange(count)[:, None], ops.arange(count)[None, :])
    same = ops.logical_and(ops.equal(people[:, None], people[None, :]), ops.logical_not(itself))
    similarity = ops.where(itself, -1e9, similarity)
    log_share = similarity - ops.logsumexp(similarity, axis=1, keepdims=True)
    positives = ops.sum(ops.cast(same, "float32"), axis=1)
    of_each = -ops.sum(ops.where(same, log_share, 0.0), axis=1) / ops.maximum(positives, 1.0)
    return ops.sum(of_each) / ops.maximum(ops.sum(ops.cast(positives > 0, "float32")), 1.0)


def train(config, seed, precision, bank, pairs, folder, run_id="", score_test=True, keep_weights=True):
    """Train one configuration in this process, going on from the resume state in `folder` where there is one.

    config: RunConfig; bank: ImageBank; pairs: StudyPairs; folder: the run's folder, made where missing. Writes
    config.json, history.csv, predictions.csv, result.json and, with `keep_weights`, model.keras.
    """
    pairs.require_protocol(config.data.protocol)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "run": run_id,
        "version": TRAINING_VERSION,
        "config": config.to_dict(),
        "seed": seed,
        "precision": precision,
        "data_digest": pairs.digest(bank),
    }
    forget_another_run(folder, identity)
    write_json(folder / "config.json", identity)
    keep_compiled(cache_folder() / "compiled")
    keras.utils.set_random_seed(seed)
    images, parts = gather_parts(bank, pairs)
    trainer = build_trainer(config, images, precision, seed)
    drawable = training_rows(config, images, pairs)
    scorer = Scorer(trainer, parts, cohort_rows(config, parts["train"], drawable, seed))
    batches = training_batches(config, parts["train"], images, seed, drawable)
    rows = fit(config.training, trainer, scorer, batches, folder)
    evaluated = decisions.evaluated_epoch(rows, config.training)
    if not weights_path(folder, evaluated).exists():
        save_weights(folder, trainer.siamese, evaluated)  # the last epoch's, still in memory
    measured = {
        "seed": seed,
        "precision": precision,
        "backend": keras.backend.backend(),
        "device": device_name(),
        "threads": int(os.environ.get("TF_NUM_INTRAOP_THREADS") or cores()),
        "status": "diverged" if decisions.diverged(rows) else "finished",
        "epochs_run": len(rows),
        "epochs_max": config.training.epochs,
        "evaluated_epoch": evaluated,
        "best_epoch": decisions.best_epoch(rows),
        **durations(rows),
        "versions": versions(),
    }
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
    return images, {
        name: (images.rows(part.left), images.rows(part.right), part.label) for name, part in pairs.sets().items()
    }


def build_trainer(config, images, precision, seed):
    """A compiled PairTrainer for a RunConfig over an ImageBank, its optimiser built."""
    siamese = build_siamese(config.model, images.side, precision, seed)
    trainer = PairTrainer(
        siamese,
        images.images,
        config.training.contrast,
        config.training.temperature,
        strangers=config.training.drawn_people is not None,
        batch_size=config.training.batch_size,
        separate_twins=config.training.separate_twins,
    )
    trainer.compile(
        optimizer=build_optimizer(config.training),
        loss=cross_entropy,
        metrics=[
            keras.metrics.MeanMetricWrapper(cross_entropy, name="cross_entropy"),
            keras.metrics.MeanMetricWrapper(hard_accuracy, name="accuracy"),
        ],
        # XLA's convolutions are slower than oneDNN's on a CPU; JAX knows nothing else.
        jit_compile=keras.backend.backend() != "tensorflow",
    )
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def build_optimizer(training):
    """The optimiser of a TrainingConfig: Adam, or AdamW with no decay of biases, of batch-norm's parameters and of a mean's power."""
    kinds = keras.optimizers
    if keras.backend.backend() == "tensorflow":
        from lfwstudy.network import tensorflow_ops as kinds
    if training.optimizer == "adam":
        return kinds.Adam(training.learning_rate)
    optimizer = kinds.AdamW(training.learning_rate, weight_decay=training.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "power"])
    return optimizer


def training_batches(config, part, images, seed, drawable=None):
    """The training side as Batches: the pairs with their copies in a new order, or people drawn anew, in each epoch.

    part: (left rows, right rows, label) of the training pairs; images: their ImageBank; drawable: rows of the pictures
    that may be drawn, where the configuration asks for it.
    """
    training = config.training
    person = people_of(images)

    def online(inputs, epoch):
        """Add what is drawn anew in every epoch."""
        rng = np.random.default_rng([seed, 50, epoch])
        for side in ("left", "right"):
            if training.varies_online():
                inputs[f"{side}_warp"] = draw_online(rng, len(inputs[side]), images.side, training)
            if training.erase:
                inputs[f"{side}_erase"] = draw_rectangles(rng, len(inputs[side]), images.side, training.erase)
            if training.contrast:
                inputs[f"{side}_person"] = person[inputs[side]]
        return inputs

    if training.drawn_people:
        _, at, pictures = np.unique(person[drawable], return_inverse=True, return_counts=True)
        drawable = drawable[pictures[at] >= training.least_pictures]
        each = training.pairs_per_person
        size = min(training.batch_size // each, np.count_nonzero(pictures >= training.least_pictures))
        if size < 2:
            raise RunError(f"fewer than two training people have {training.least_pictures} pictures")
        count = -(-training.drawn_people // size)

        def drawn(epoch):
            left, right = draw_people(np.random.default_rng([seed, 60, epoch]), person, drawable, count, size, each)
            targets = np.tile(np.float32([[1, 1], [0, 0]]), (len(left), 1, 1))
            return online({"left": left, "right": right}, epoch), targets

        return Batches(drawn, count * size * each, size * each)

    inputs, targets = with_copies(training, part, images.side, seed)

    def ordered(epoch):
        order = np.random.default_rng([seed, 30, epoch]).permutation(len(targets))
        return online({name: values[order] for name, values in inputs.items()}, epoch), targets[order]

    return Batches(ordered, len(targets), training.batch_size)


def with_copies(training, part, side, seed):
    """The training pairs and their offline copies as (inputs, targets), see Batches."""
    left, right, label = part
    copies = training.augmented_copies
    inputs = {
        "left": np.repeat(left, copies + 1).astype(np.int32),
        "right": np.repeat(right, copies + 1).astype(np.int32),
    }
    if copies:
        warps = draw_copies(seed, len(label), copies, side, training.zoom, training.brightness, training.shear).reshape(
            -1, 2, PARAMETERS
        )
        inputs["left_warp"], inputs["right_warp"] = warps[:, 0], warps[:, 1]
    hard = np.repeat(label, copies + 1).astype(np.float32)
    is_copy = np.tile(np.arange(copies + 1) > 0, len(label))
    if copies and training.stretch_copies:
        inputs["left_stretch"] = inputs["right_stretch"] = is_copy
    epsilon = np.where(is_copy, training.label_epsilon_copies, training.label_epsilon_originals)
    return inputs, np.stack([clip_labels(hard, epsilon), hard], axis=1).astype(np.float32)


def people_of(images):
    """A number for the person of each picture of a bank: int32 (n,)."""
    return np.unique(person_of(images.names), return_inverse=True)[1].astype(np.int32)


def draw_people(rng, person, drawable, batches, size, pairs_of_each=1):
    """Two pictures of each of `size` different people for every batch, `pairs_of_each` times: rows of lefts and of rights,
    int32 (batches * pairs_of_each * size,), no two of a person's pairs in a batch beside each other.

    person: of each row; drawable: rows that may be drawn. People are drawn by the square root of the number of their
    pictures, so that a few with hundreds do not fill every batch; who has one picture only gives it twice.
    """
    rows = drawable[np.argsort(person[drawable], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(person[rows]) > 0])
    sizes = np.diff(np.r_[starts, len(rows)])
    # The largest log-weights with Gumbel noise are a weighted draw without replacement (Efraimidis and Spirakis 2006).
    keys = np.log(sizes) / 2 + rng.gumbel(size=(batches, len(sizes)))
    drawn = np.tile(np.argsort(-keys, axis=1)[:, :size], (1, pairs_of_each)).ravel()
    first = rng.integers(sizes[drawn])
    second = (first + rng.integers(1, np.maximum(sizes[drawn], 2))) % sizes[drawn]
    return rows[starts[drawn] + first].astype(np.int32), rows[starts[drawn] + second].astype(np.int32)


def training_rows(config, images, pairs):
    """Rows of the pictures that may be drawn: all, but of nobody who is in validation or in the test pairs."""
    if not config.training.drawn_people:
        return None
    held = person_of(np.concatenate([pairs.validation.names(), pairs.test.names()]))
    return np.flatnonzero(~np.isin(person_of(images.names), held)).astype(np.int32)


def cohort_rows(config, part, drawable, seed):
    """Rows of the pictures in a cosine head's cohort, None where it has none: of those that may be drawn, or of the training
    pairs'; some twice where there are too few."""
    if not config.model.cohort:
        return None
    rows = np.unique(np.concatenate(part[:2])) if drawable is None else drawable
    return np.resize(np.random.default_rng([seed, 70]).permutation(rows), config.model.cohort)


def fit(training, trainer, scorer, batches, folder):
    """Train until the epochs or the patience are over; returns the history's rows."""
    recorder = Recorder(folder, training, trainer.siamese, scorer.validate, batches.pairs / batches.batch_size)
    try:
        recorder.rows = load_resume(folder, trainer, training)
    except DamageError as error:
        print(f"{error}; this run starts anew", file=sys.stderr)
    done = len(recorder.rows)
    recorder.saved_resume = (done, time.monotonic())
    over = decisions.should_stop(recorder.rows, training) or decisions.diverged(recorder.rows)
    if done < training.epochs and not over:
        # Compiled before the clock of the first epoch runs.
        scorer.embed(np.unique(scorer.parts["val"][0])[:EMBED_BATCH])
        batches.go_on_after(done)
        given = batches
        if keras.backend.backend() == "tensorflow":
            from lfwstudy.network.tensorflow_ops import untuned

            given = untuned(batches)
        trainer.fit(
            given,
            epochs=training.epochs,
            initial_epoch=done,
            steps_per_epoch=batches.steps,
            shuffle=False,
            verbose=0,
            callbacks=[recorder],
        )
    return recorder.rows


def finish(measured, scorer, pairs, folder, run_id, score_test, keep_weights):
    """Score the evaluated and the best epoch's weights and write predictions.csv and result.json.

    measured: what is known of the run so far; a previous result.json will do.
    """
    siamese = scorer.trainer.siamese
    names = [name for name in pairs.sets() if score_test or name != "test"]
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
    write_json(
        folder / "result.json",
        {
            "run": run_id,
            **measured,
            "parameters": siamese.count_params(),
            **measure(labels, at, penalties[measured["evaluated_epoch"]]),
            "peak_memory_mb": measured.get("peak_memory_mb") or peak_memory_mb(),
        },
    )
    (folder / "resume.npz").unlink(missing_ok=True)
    # Without test scores both epochs' weights are still needed: a later command adds the scores.
    drop_weights(folder, keep=() if score_test else scores)


def measure(labels, at, penalty):
    """The scores' part of result.json. labels: by set; at: by column, by set; penalty: of the evaluated weights."""
    result = {}
    for name in ("train", "val", "test"):
        known = name in labels
        summary = metrics.summarise(labels[name], at["score"][name]) if known else {}
        result[f"{name}_accuracy"] = summary.get("accuracy")
        result[f"{name}_cross_entropy"] = summary.get("cross_entropy")
        result[f"{name}_loss"] = summary["cross_entropy"] + penalty if known else None
        result[f"{name}_accuracy_at_best"] = (
            metrics.accuracy(labels[name], at["score_at_best"][name]) if known else None
        )
        if name == "test":
            result |= {f"test_{key}": summary.get(key) for key in ("auc", "eer", "tpr", "tnr")}
            accuracy = summary.get("accuracy")
            finite = accuracy is not None and np.isfinite(accuracy)
            low, high = (
                metrics.wilson(round(accuracy * len(labels[name])), len(labels[name]))
                if finite
                else ((None, None) if not known else (float("nan"), float("nan")))
            )
            result |= {"test_ci_low": low, "test_ci_high": high}
    return result


def forget_another_run(folder, identity):
    """Set aside the training of a folder whose config.json is not of this run: it was copied or renamed by hand."""
    resume = folder / "resume.npz"
    if not resume.exists():
        return
    try:
        known = read_json(folder / "config.json")
    except (FileNotFoundError, ValueError):
        known = None
    if known != identity:
        aside = set_aside_content(folder)
        print(
            f"{resume}: the folder's config.json is not of this run; set aside as {aside.name}, this run starts anew",
            file=sys.stderr,
        )


def durations(rows):
    """Seconds of the history's rows: per epoch, in all, and until the best epoch's end."""
    each = [row["seconds"] for row in rows]
    best = decisions.best_epoch(rows)
    return {
        "seconds_per_epoch": sum(each) / len(each),
        "seconds_total": sum(each),
        "seconds_to_best": sum(each[:best]) if best else None,
    }


def write_predictions(path, pairs, at):
    """predictions.csv: one row per scored pair, with the scores of the evaluated and of the best epoch."""
    rows = []
    for name, part in pairs.sets().items():
        if name in at["score"]:
            for i in range(len(part)):
                rows.append(
                    {
                        "set": name,
                        "pair": int(part.line[i]),
                        "left": part.left[i],
                        "right": part.right[i],
                        "label": int(part.label[i]),
                        "score": float(at["score"][name][i]),
                        "score_at_best": float(at["score_at_best"][name][i]),
                    }
                )
    write_csv(path, PREDICTION_COLUMNS, rows)
