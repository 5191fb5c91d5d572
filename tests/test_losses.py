import numpy as np
import pytest

from lfwstudy.training.losses import contrast_loss, cross_entropy, hard_accuracy


def test_soft_labels_leave_accuracy_on_hard_ones():
    targets = np.array([[0.015, 0], [0.985, 1], [0.985, 1]], np.float32)
    score = np.array([[0.2], [0.7], [0.3]], np.float32)
    logit = np.log(score / (1 - score))
    assert np.asarray(hard_accuracy(targets, logit)).tolist() == [1, 1, 0]
    expected = -np.mean([np.log(0.8) * 0.985 + np.log(0.2) * 0.015])
    assert np.asarray(cross_entropy(targets, logit))[0] == pytest.approx(expected, rel=1e-4)


def test_surely_wrong_pairs_still_pass_a_gradient():
    targets = np.array([[1, 1]], np.float32)
    losses = [float(np.asarray(cross_entropy(targets, np.array([[z]], np.float32)))[0]) for z in (-40, -41)]
    assert losses == pytest.approx([40, 41])


def test_contrast_loss_is_that_of_a_worked_example():
    embeddings = np.array([[1, 0], [0, 2], [1, 0], [0, -1]], np.float32)
    # Persons a, b, a, c; only the two images of a have a positive: cosines to the others 0, 1, 0 at temperature 1.
    expected = -np.log(np.e / (np.e + 2))
    got = float(contrast_loss(embeddings, np.array([0, 1, 0, 2], np.int32), 1.0))
    assert got == pytest.approx(expected, abs=1e-5)
    assert float(contrast_loss(embeddings, np.arange(4, dtype=np.int32), 1.0)) == 0
