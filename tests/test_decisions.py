from math import inf, nan

import pytest

from lfwstudy.config import TrainingConfig
from lfwstudy.training import decisions


def rows(losses, accuracies=None, entropies=None):
    return [
        {
            "epoch": i + 1,
            "loss": loss,
            "val_loss": loss,
            "val_accuracy": (accuracies or [0.5] * 99)[i],
            "val_cross_entropy": (entropies or [0.7] * 99)[i],
        }
        for i, loss in enumerate(losses)
    ]


def test_best_epoch_is_highest_accuracy_then_lower_entropy_then_earlier():
    assert decisions.best_epoch(rows([1, 1, 1, 1], [0.6, 0.7, 0.7, 0.7], [0.1, 0.3, 0.2, 0.2])) == 3
    assert decisions.best_epoch(rows([1, 1], [0.6, 0.9], [0.5, nan])) == 1
    assert decisions.best_epoch(rows([nan], [0.9], [nan])) is None


def test_checkpoints_are_kept_every_period_and_the_lowest_total_loss_wins():
    every_two = TrainingConfig(checkpoint_period=2)
    assert decisions.best_checkpoint(rows([1, 9, 5, 4, 3, 3]), every_two) == 6
    assert decisions.best_checkpoint(rows([1, 3, 5, 3]), every_two) == 2
    assert decisions.best_checkpoint(rows([1]), every_two) is None
    assert decisions.best_checkpoint(rows([1, nan, 1, 7]), every_two) == 4


@pytest.mark.parametrize(
    "losses, patience, stops",
    [
        ([3, 2, 1], 1, False),
        ([3, 2, 2], 1, True),
        ([3, 2, 2.5, 1.9], 2, False),
        ([1, 2, 3], 2, True),
        ([1, 2, 3], None, False),
        ([1, 1, 1, 1, 1, 1], 5, True),
        ([nan, nan], 2, True),
        ([], 1, False),
    ],
)
def test_stopping_counts_epochs_without_a_lower_loss(losses, patience, stops):
    assert decisions.should_stop(rows(losses), TrainingConfig(patience=patience)) is stops


def test_what_is_monitored_decides_on_stopping_and_checkpoints():
    """A penalty that falls and falls hides that the network has been getting worse since its second epoch."""
    seen = rows([9, 8, 7, 6], entropies=[0.7, 0.5, 0.6, 0.65])
    total, own = (
        TrainingConfig(monitor=name, patience=2, checkpoint_period=1) for name in ("val_loss", "val_cross_entropy")
    )
    assert not decisions.should_stop(seen, total) and decisions.should_stop(seen, own)
    assert (decisions.best_checkpoint(seen, total), decisions.best_checkpoint(seen, own)) == (4, 2)


def test_evaluated_epoch_follows_the_configuration():
    losses = rows([5, 1, 4, 3])
    assert decisions.evaluated_epoch(losses, TrainingConfig()) == 4
    checkpointed = TrainingConfig(evaluated="best-checkpoint", checkpoint_period=1)
    assert decisions.evaluated_epoch(losses, checkpointed) == 2
    assert decisions.evaluated_epoch(losses, TrainingConfig(evaluated="best-checkpoint", checkpoint_period=50)) == 4


def test_learning_rate_drops_after_its_epoch_once():
    training = TrainingConfig(lr_drop_epoch=3)
    assert [decisions.learning_rate(training, e) for e in (1, 3, 4, 9)] == [0.001, 0.001, 0.0001, 0.0001]


def test_divergence_is_seen_in_either_loss():
    assert decisions.diverged(rows([1, inf])) and decisions.diverged(rows([nan])) and not decisions.diverged(rows([1]))
