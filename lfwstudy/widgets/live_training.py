"""Live training: a stage trained at a small size in a separate process, with growing curves; it can be stopped and resumed."""

import threading

from lfwstudy.config import RunConfig
from lfwstudy.errors import StudyError
from lfwstudy.ladder import get_ladder, get_stage, scale
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.study.study import Study
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import Slider, button, dropdown, markup, row, sentence
from lfwstudy.widgets.explorer import Explorer, explorer

FOLDER = "live"
_LEGEND = drawing.legend(
    [("validation, the dot at its best accuracy", drawing.VALIDATION, ""), ("training", drawing.TRAIN, "4 3")]
)


class _Stopped(Exception):
    """Raised within the study's own training loop to end it and its process."""


@explorer
def train_live(study: Study) -> Explorer:
    """Train one variant of a stage on few pairs with a narrow network, apart from the study's own runs, and watch it.

    Runs are in <study>/live. Stopping keeps the last resume state (every five epochs); starting again resumes from it.
    """
    study.data(study.first().data)  # fails at once if images are missing
    return LiveTraining(study)


class LiveTraining(Explorer):
    """Choices of a small training, its start and stop, and its curves."""

    def __init__(self, study: Study) -> None:
        self.study, self.store = study, Store(study.out / FOLDER)
        self.thread: threading.Thread | None = None
        self.stopping = threading.Event()
        stages = get_ladder(study.settings.ladder)
        super().__init__(
            stage=dropdown("Stage", [(s.title, s.id) for s in stages]),
            variant=dropdown("Variant", _variants(study, stages[0].id)),
            epochs=Slider(label="Epochs at most", min=2, max=60, step=1, digits=0, value=16),
            pairs=Slider(label="Pairs per class", min=20, max=300, step=10, digits=0, value=100),
            width=Slider(label="Network width", min=0.05, max=0.5, step=0.05, value=0.1),
            start=button("Start or resume", button_style="primary"),
            stop=button("Stop", disabled=True),
            figure=markup("310px", "470px"),
            entropy=markup("310px", "470px"),
            legend=markup(),
        )
        p = self.parts
        p.legend.value = _LEGEND
        choices = row(p.stage, p.variant, p.epochs, p.pairs, p.width)
        self.arrange(choices, row(p.start, p.stop), p.message, row(p.figure, p.entropy), p.legend)
        p.stage.observe(self.offer_variants, "value")
        self.press(p.start, self.begin)
        self.press(p.stop, self.stop)
        self.follow(self.preview, p.variant, p.epochs, p.pairs, p.width)

    def wait(self, seconds: float) -> None:
        """Wait for the current training to end, up to a limit."""
        if self.thread:
            self.thread.join(seconds)

    def offer_variants(self, _: object) -> None:
        self.parts.variant.options = _variants(self.study, self.parts.stage.value)

    def job(self) -> Job:
        """The chosen job."""
        p = self.parts
        config = small_config(
            self.study, p.stage.value, p.variant.value, int(p.epochs.value), int(p.pairs.value), p.width.value
        )
        return live_job(self.study, f"{p.stage.value}/{p.variant.value}", config)

    def preview(self) -> str:
        """Show the progress of the chosen training so far."""
        if self.parts.start.disabled:
            return "A training is running; stop it to choose another."
        job = self.job()
        done = self.draw(job)
        return f"{done} of at most {job.epochs} epochs are trained." if done else "Not trained yet."

    def begin(self) -> str:
        """Start the chosen training as a process, from a thread, so that the notebook stays usable."""
        if self.thread and self.thread.is_alive():
            return "It is already training."
        job = self.job()
        if self.store.is_finished(job.run):
            self.draw(job)
            return self.result(job)
        self.stopping.clear()
        self.set_busy(True)
        self.thread = threading.Thread(target=self.train, args=(job,), daemon=True)
        self.thread.start()
        return f"Starting {job.title}; the first epoch takes a few seconds."

    def stop(self) -> str:
        self.stopping.set()
        return "Stopping."

    def train(self, job: Job) -> None:
        """Train a job and show its progress until it ends or is stopped."""
        seen = -1

        def show(text: str) -> None:
            nonlocal seen
            if self.stopping.is_set():
                raise _Stopped
            if len(self.store.history(job.run)) != seen:
                seen = self.draw(job)
                self.parts.message.tell(text)

        try:
            failures = dispatch.run([job], show=show)
            self.draw(job)
            text = "; ".join(failures.values()) or self.result(job)
        except _Stopped:
            text = "Stopped. Starting again resumes it, at most five epochs back."
        except (StudyError, OSError) as error:
            text = sentence(error)
        finally:
            self.set_busy(False)
        self.parts.message.tell(text)

    def draw(self, job: Job) -> int:
        """Draw the curves of a job; returns how many epochs they have."""
        rows = self.store.history(job.run)
        curves = [drawing.Curve(job.title, rows, drawing.VALIDATION)] if rows else []
        for place, measure in ((self.parts.figure, "accuracy"), (self.parts.entropy, "cross_entropy")):
            title = f"{measure.replace('_', '-')} over {len(rows)} epochs"
            place.value = drawing.curves(curves, measure, title, 470, 300)
        return len(rows)

    def result(self, job: Job) -> str:
        """The result of a finished job, in a sentence."""
        result = self.store.result(job.run)
        return (
            f"Finished: {result['epochs_run']} epochs, best validation accuracy "
            f"{percent(result['val_accuracy_at_best'])} % at epoch {result['best_epoch']}. The test pairs were not scored."
        )

    def set_busy(self, yes: bool) -> None:
        self.parts.stop.disabled = not yes
        for control in (self.parts.start, self.parts.stage, self.parts.variant):
            control.disabled = yes


def small_config(study: Study, stage: str, variant: str, epochs: int, pairs: int, width: float) -> RunConfig:
    """A variant's changes to the first stage's configuration, at a small size and with the epochs of the profile quick."""
    found = next(v for v in get_stage(study.settings.ladder, stage).variants if v.id == variant)
    config = scale(study.first().change(found.changes), "quick", study.settings.ladder)
    return config.change({"model.width": round(width, 3), "data.pairs_per_class": pairs, "training.epochs": epochs})


def live_job(study: Study, title: str, config: RunConfig, seed: int = 0) -> Job:
    """The Job of a configuration in the study's folder for live runs."""
    config = config.change({"data.fold": study.folds()[0]})
    run = config.identify(seed, study.precision, study.data(config.data)[2])
    folder = study.out / FOLDER / run
    data_dir = study.settings.data_dir
    return Job(run, config, folder, seed, study.precision, data_dir, score_test=False, title=title)


def _variants(study: Study, stage: str) -> list[tuple[str, str]]:
    return [(v.title, v.id) for v in get_stage(study.settings.ladder, stage).variants]
