"""Live training: a stage started at a small size in a process of its own; its curves grow, it can be stopped and go on."""

import threading

from lfwstudy.errors import StudyError
from lfwstudy.ladder import get_ladder, get_stage, scale
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import (
    Slider,
    button,
    dropdown,
    explorer,
    guarded,
    markup,
    message,
    panel,
    row,
    sentence,
    tell,
    when_changed,
)

FOLDER = "live"


class _Stopped(Exception):
    """Raised within the study's own training loop to end it and its process."""


@explorer
def train_live(study):
    """Train one variant of a stage on few pairs with a narrow network, apart from the study's own runs, and watch it.

    Runs lie in <study>/live. Stopping keeps the last resume state (every five epochs); starting the same again goes on.
    """
    study.data(study.first().data)  # says at once that pictures are missing
    stages = get_ladder(study.settings.ladder)
    stage = dropdown("Stage", [(s.title, s.id) for s in stages])
    variant = dropdown("Variant", _variants(study, stages[0].id))
    epochs = Slider(label="Epochs at most", min=2, max=60, step=1, digits=0, value=16)
    pairs = Slider(label="Pairs per class", min=20, max=300, step=10, digits=0, value=100)
    width = Slider(label="Network width", min=0.05, max=0.5, step=0.05, value=0.1)
    start, stop = button("Start or go on", button_style="primary"), button("Stop", disabled=True)
    told, figure, entropy = message(), *(markup("310px", "470px") for _ in range(2))
    key = markup()
    key.value = drawing.legend(
        [("validation, the dot at its best accuracy", drawing.VALIDATION, ""), ("training", drawing.TRAIN, "4 3")]
    )
    state = {"thread": None, "stop": threading.Event()}

    def chosen():
        return small_config(study, stage.value, variant.value, int(epochs.value), int(pairs.value), width.value)

    def draw(job):
        rows = history_of_job(study, job)
        lines = [(job.title, rows, drawing.VALIDATION, "")] if rows else []
        figure.value = drawing.curves(lines, "accuracy", f"accuracy over {len(rows)} epochs", 470, 300)
        entropy.value = drawing.curves(lines, "cross_entropy", f"cross-entropy over {len(rows)} epochs", 470, 300)

    def preview():
        job = live_job(study, *chosen())
        draw(job)
        done = len(history_of_job(study, job))
        return f"{done} of at most {job.epochs} epochs are there." if done else "Not trained yet."

    def watch(job):
        seen = [-1]

        def show(text):
            if state["stop"].is_set():
                raise _Stopped
            rows = len(history_of_job(study, job))
            if rows != seen[0]:
                seen[0] = rows
                draw(job)
                tell(told, text)

        try:
            failures = dispatch.run([job], show=show)
            draw(job)
            tell(told, "; ".join(failures.values()) if failures else _finished(study, job))
        except _Stopped:
            tell(told, "Stopped. Starting it again goes on from its last resume state, at most five epochs back.")
        except (StudyError, OSError) as error:
            tell(told, sentence(error))
        finally:
            busy(False)

    def busy(yes):
        stop.disabled = not yes
        for control in (start, stage, variant):
            control.disabled = yes

    def begin():
        if state["thread"] and state["thread"].is_alive():
            return "It is training already."
        job = live_job(study, *chosen())
        if Store(study.out / FOLDER).is_finished(job.run):
            draw(job)
            return _finished(study, job)
        state["stop"].clear()
        busy(True)
        # In a thread, so that the notebook stays usable; the training itself is a process of its own.
        state["thread"] = threading.Thread(target=watch, args=(job,), daemon=True)
        state["thread"].start()
        return f"Starting {job.title}; the first epoch takes a few seconds."

    def change_stage(_):
        variant.options = _variants(study, stage.value)

    stage.observe(change_stage, "value")
    when_changed(guarded(told, lambda: None if start.disabled else preview()), variant, epochs, pairs, width)
    start.on_click(guarded(told, begin))
    stop.on_click(lambda _: (state["stop"].set(), tell(told, "Stopping.")))
    guarded(told, preview)()
    built = panel(
        row(stage, variant, epochs, pairs, width),
        row(start, stop),
        told,
        row(figure, entropy),
        key,
        stage=stage,
        variant=variant,
        epochs=epochs,
        pairs=pairs,
        width=width,
        start=start,
        stop=stop,
        message=told,
        figure=figure,
        entropy=entropy,
    )
    built.wait = lambda seconds: state["thread"] and state["thread"].join(seconds)
    return built


def small_config(study, stage, variant, epochs, pairs, width):
    """A variant's title and its changes on the first stage's configuration at a small size: RunConfig, quick's scaled epochs."""
    found = next(v for v in get_stage(study.settings.ladder, stage).variants if v.id == variant)
    config = scale(study.first().change(found.changes), "quick", study.settings.ladder)
    config = config.change({"model.width": round(width, 3), "data.pairs_per_class": pairs, "training.epochs": epochs})
    return f"{stage}/{variant}", config


def live_job(study, title, config, seed=0) -> Job:
    """The Job of a configuration in the study's folder for live runs."""
    config = config.change({"data.fold": study.folds()[0]})
    run = config.identify(seed, study.precision, study.data(config.data)[2])
    return Job(
        run=run,
        config=config,
        folder=study.out / FOLDER / run,
        seed=seed,
        precision=study.precision,
        data_dir=study.settings.data_dir,
        score_test=False,
        title=title,
    )


def history_of_job(study, job):
    """The history rows that a live run has so far."""
    return Store(study.out / FOLDER).history(job.run)


def _finished(study, job):
    result = Store(study.out / FOLDER).result(job.run)
    return (
        f"Finished: {result['epochs_run']} epochs, best validation accuracy {percent(result['val_accuracy_at_best'])} % at epoch "
        f"{result['best_epoch']}. The test pairs were not scored."
    )


def _variants(study, stage):
    return [(v.title, v.id) for v in get_stage(study.settings.ladder, stage).variants]
