"""Live training: a stage trained at a small size in a separate process, with growing curves; it can be stopped and resumed."""

import threading
from collections.abc import Mapping
from typing import Any

import ipywidgets

from lfwstudy.errors import StudyError
from lfwstudy.ladder import PROFILES
from lfwstudy.ladder.stage import Stage
from lfwstudy.report.wording import counted
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.study.study import Study
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import Slider, button, dropdown, markup, row, sentence
from lfwstudy.widgets.explorer import Explorer

_ACCURACIES = ("val_accuracy", "validation"), ("accuracy", "training")


class _Stopped(Exception):
    """Raised within the study's own training loop to end it and its process."""


class LiveTraining(Explorer):
    """Train one variant of a stage on few pairs with a narrow network, apart from the study's own runs, and watch it.

    Runs are in <study>/live. Stopping keeps the last resume state (every five epochs); starting again resumes from it.
    """

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        study.data(study.first().data)  # fails at once if images are missing
        self.study, self.store = study, Store(study.out / "live")
        self.training, self.stopping = threading.Thread(), threading.Event()
        stages = study.ladder.stages
        p = self.add(
            stage=dropdown("Stage", [(stage.title, stage) for stage in stages]),
            variant=dropdown("Variant", _variants(stages[0]), "40em"),
            epochs=Slider(description="Epochs at most", min=2, max=60, step=1, digits=0, value=16),
            pairs=Slider(description="Pairs per class", min=20, max=300, step=10, digits=0, value=100),
            width=Slider(description="Network width", min=0.05, max=0.5, step=0.05, value=0.1),
            start=button("Start or resume", button_style="primary"),
            stop=button("Stop", disabled=True),
            accuracy=markup("310px", "470px"),
            cross_entropy=markup("310px", "470px"),
            legend=markup(),
        )
        validation = ("validation, the dot at its best accuracy", drawing.VALIDATION, "")
        p.legend.value = drawing.legend([validation, ("training", drawing.TRAIN, "4 3")])
        self.watch(self.begin, p.start)
        self.watch(self.stop, p.stop)
        p.stage.observe(self.offer_variants, "value")
        self.watch(self.preview, p.variant, p.epochs, p.pairs, p.width)()
        choices = row(p.stage, p.variant, p.epochs, p.pairs, p.width)
        return [choices, row(p.start, p.stop), p.message, row(p.accuracy, p.cross_entropy), p.legend]

    def offer_variants(self, _: object) -> None:
        """Offer the variants of the chosen stage."""
        self.parts.variant.options = _variants(self.parts.stage.value)

    def preview(self) -> str:
        """Show the progress of the chosen training so far."""
        if self.training.is_alive():
            return "A training is running; stop it to choose another."
        job = self.job()
        told = self.draw(job)
        if self.store.is_finished(job.run):
            return outcome(self.store.result(job.run))
        return told or "Not trained yet. Epochs in a variant's name are the report's; here they are scaled down."

    def begin(self) -> str:
        """Start the chosen training as a process, from a thread, so that the notebook stays usable."""
        job = self.job()
        if self.store.is_finished(job.run):
            return outcome(self.store.result(job.run))
        self.stopping.clear()
        self.set_busy(True)
        self.training = threading.Thread(target=self.train, args=(job,), daemon=True)
        self.training.start()
        return f"Starting {job.title}; the first epoch takes a few seconds."

    def stop(self) -> str:
        """Ask the training to stop."""
        self.stopping.set()
        return "Stopping."

    def job(self) -> Job:
        """The chosen variant's changes to the first stage's configuration, at a small size, as a job apart from the study."""
        p, study = self.parts, self.study
        stage, variant = p.stage.value, p.variant.value
        sizes = {"model.width": round(p.width.value, 3), "data.pairs_per_class": int(p.pairs.value)}
        config = PROFILES["quick"].scale(study.first().change(variant.changes), study.ladder)
        config = config.change({**sizes, "training.epochs": int(p.epochs.value), "data.fold": study.folds()[0]})
        run, title = config.identify(0, study.precision, study.data(config.data)[2]), f"{stage.id}/{variant.id}"
        folder, data_dir = self.store.folder(run), study.settings.data_dir
        return Job(run, config, folder, 0, study.precision, data_dir, score_test=False, title=title)

    def train(self, job: Job) -> None:
        """Train a job and show its progress until it ends or is stopped."""

        def show(_: str) -> None:
            if self.stopping.is_set():
                raise _Stopped
            if told := self.draw(job):
                self.parts.message.tell(told)

        try:
            failures = dispatch.run([job], show=show)
            self.draw(job)
            text = "; ".join(failures.values()) or outcome(self.store.result(job.run))
        except _Stopped:
            text = "Stopped. Starting again resumes it, at most five epochs back."
        except (StudyError, OSError) as error:
            text = sentence(error)
        finally:
            self.set_busy(False)
        self.parts.message.tell(text)

    def draw(self, job: Job) -> str:
        """Draw the curves of a job so far; returns its progress in a sentence, "" before the first epoch."""
        rows = self.store.history(job.run)
        curves = [drawing.Curve(job.title, rows, drawing.VALIDATION)] if rows else []
        for measure in ("accuracy", "cross_entropy"):
            title = f"{measure.replace('_', '-')} over {len(rows)} epochs"
            getattr(self.parts, measure).value = drawing.curves(curves, measure, title, 470, 300, job.epochs)
        if not rows:
            return ""
        reached = " and ".join(f"{percent(rows[-1][key])} % in {name}" for key, name in _ACCURACIES)
        return f"{job.title}, epoch {len(rows)} of at most {job.epochs}: accuracy {reached}."

    def set_busy(self, yes: bool) -> None:
        """Allow stopping or choosing."""
        self.parts.stop.disabled = not yes
        for control in (self.parts.start, self.parts.stage, self.parts.variant):
            control.disabled = yes


def outcome(result: Mapping[str, Any]) -> str:
    """A run's result.json in a sentence."""
    epochs, best = counted(result["epochs_run"], "epoch"), result["best_epoch"]
    diverged = result["status"] == "diverged"
    ended = f"Diverged after {epochs}: the loss is not a number" if diverged else f"Finished: {epochs}"
    reached = f", best validation accuracy {percent(result['val_accuracy_at_best'])} % at epoch {best}" if best else ""
    return f"{ended}{reached}. The test pairs were not scored."


def _variants(stage: Stage) -> list[tuple[str, Any]]:
    return [(variant.title, variant) for variant in stage.variants]
