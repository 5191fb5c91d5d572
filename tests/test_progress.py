"""What the terminal shows of runs in progress fits its line and costs them little."""

import time

import pytest

from lfwstudy.config import RunConfig
from lfwstudy.runs import dispatch
from lfwstudy.study import progress
from lfwstudy.study.rungs import Spec
from tools.stand_in import jobs

ROWS = [{"epoch": epoch, "val_accuracy": accuracy} for epoch, accuracy in ((1, 0.55), (2, 0.64), (3, 0.612))]


def spec(variant):
    return Spec("stage", variant, 0, None, RunConfig(), variant)


@pytest.mark.parametrize(
    "room, shown",
    [
        (
            115,
            "stage/a epoch 3, validation 0.612, best 0.640 ▁█▆, stage/b epoch 1, validation 0.550, best 0.550 ▁ and 1 more",
        ),
        (64, "stage/a epoch 3, validation 0.612, best 0.640 ▁█▆ and 2 more"),
        (58, "stage/a epoch 3, validation 0.612, best 0.640 and 2 more"),
        (35, "a: val 0.612, best 0.640 and 2 more"),
        (5, "a: val 0.612, best 0.640 and 2 more"),
    ],
)
def test_runs_in_progress_are_named_with_their_accuracy_as_far_as_the_line_has_room(room, shown):
    histories = {spec("a"): ROWS, spec("b"): ROWS[:1], spec("c"): ROWS, spec("not begun"): []}
    assert progress.in_progress(histories, room) == shown


def test_nothing_is_named_before_the_first_epoch():
    assert progress.in_progress({spec("a"): []}, 80) == ""


class Waiting:
    """A study that still misses the runs in `left`."""

    def __init__(self, *left):
        self.left = list(left)

    def missing(self, specs):
        return [one for one in specs if one in self.left]


def test_a_log_gets_a_line_for_each_finished_run_and_now_and_then_one_on_the_others(monkeypatch):
    said, study, now = [], Waiting(spec("a"), spec("b")), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress.Bar(study, [spec("a"), spec("b")], said.append)
    bar.update("epoch 1")
    study.left.remove(spec("a"))
    bar.update("epoch 2")
    now[0] = 121
    bar.update("epoch 3")
    bar.update("epoch 4")
    assert said == ["- stage/a, seed 0: done, 1 of 2", "epoch 3"]


@pytest.mark.long
def test_showing_the_progress_of_many_runs_leaves_the_time_to_their_training(tmp_path):
    spent = []

    def show(text):
        time.sleep(0.3)  # what reading the histories of thousands of runs takes
        spent.append(0.3)

    began = time.monotonic()
    assert dispatch.run(jobs(tmp_path / "runs", 1, 20, 0.2), show=show) == {}
    assert len(spent) > 1 and sum(spent) < 0.4 * (time.monotonic() - began)
