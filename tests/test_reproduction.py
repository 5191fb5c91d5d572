import numpy as np
import pytest

from lfwstudy.reproduction import compare, published_histories
from lfwstudy.stages import LADDERS, base_config

BASE = published_histories()["base", "base"]


def run(factor=1.0, epochs=200, start=1):
    """A run whose validation loss is `factor` times the published one from an epoch on."""
    return [{"epoch": row["epoch"], "val_loss": row["val_loss"] * (factor if row["epoch"] >= start else 1)} for row in BASE[:epochs]]


def test_published_histories_are_of_variants_of_the_ladder_and_end_where_the_report_says():
    known = LADDERS["published"].path(base_config("report", "published"))
    printed = {(s.id, v.id): v.published for s in LADDERS["published"].stages for v in s.variants if v.published}
    histories = published_histories()
    assert set(histories) - set(known) == {("augmentation", "before-activation-patience10")}
    assert sum(map(len, histories.values())) == 1933
    assert all(len(histories[key]) == p.epochs for key, p in printed.items() if key in histories)
    assert all([row["epoch"] for row in rows] == list(range(1, len(rows) + 1)) for rows in histories.values())


def test_published_checkpoints_are_those_of_the_lowest_total_validation_loss():
    """What the report prints as the best epoch follows from the histories and the configuration, where the period was 5."""
    from lfwstudy.history import best_checkpoint, should_stop
    configs = LADDERS["published"].path(base_config("report", "published"))
    printed = {(s.id, v.id): v.published for s in LADDERS["published"].stages for v in s.variants if v.published}
    checked = 0
    for key, rows in published_histories().items():
        p = printed.get(key)
        if p and p.best_epoch and p.best_epoch % 5 == 0:
            training = configs[key].training
            assert best_checkpoint(rows, training) == p.best_epoch, key
            assert len(rows) == training.epochs or should_stop(rows, training) and not should_stop(rows[:-1], training), key
            checked += 1
    assert checked == 8


@pytest.mark.parametrize("rows, farthest, reproduced", [
    (run(), 0.0, True), (run(1.19), 0.19, True), (run(0.82), 0.18, True), (run(1.21), 0.21, False),
    (run(1.5, start=150), None, True), (run(2.0)[:4] + run()[4:], 0.0, True), (run(epochs=170), 0.0, True), (run(epochs=150), 0.0, False),
    (run(np.nan, start=50), np.nan, False)])
def test_a_run_reproduces_within_a_fifth_until_both_have_learned(rows, farthest, reproduced):
    found = compare(rows, BASE)
    assert found.reproduced is reproduced
    if farthest is not None:
        assert found.farthest == pytest.approx(farthest, nan_ok=True)


def test_runs_too_short_to_compare_say_nothing():
    assert compare(run(epochs=4), BASE) is None
