import numpy as np
import pytest

from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.training.batches import gather_sets, learned_rows, people_of
from lfwstudy.training.run import build_scorer
from lfwstudy.training.whitening import within_class_whitening
from tests.support.trained import COMPACT


def within(embeddings, people):
    """The covariance within a person, by hand."""
    total = np.zeros((embeddings.shape[1],) * 2)
    for person in set(people):
        own = embeddings[people == person]
        if len(own) > 1:
            total += np.sqrt(len(own)) * np.cov(own.T)
    return total


@pytest.fixture
def faces():
    """Embeddings whose persons differ in one direction and whose images of a person differ in another."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(60), rng.integers(1, 5, 60))
    return rng.normal(size=(60, 6))[people] + rng.normal(size=(len(people), 6)) * [1, 0.8, 0.3, 0.2, 0.1, 0.1], people


def test_whitened_images_of_a_person_vary_alike_in_all_directions(faces):
    embeddings, people = faces
    varied = np.linalg.eigvalsh(within(embeddings @ within_class_whitening(embeddings, people, 0.999), people))
    assert varied[-1] / varied[0] < 1.5
    before, half = (
        np.linalg.cond(within(embeddings @ within_class_whitening(embeddings, people, share), people))
        for share in (0.0, 0.5)
    )
    assert before == pytest.approx(np.linalg.cond(within(embeddings, people)))  # the identity has all of it
    assert varied[-1] / varied[0] < half / 4 and half < before / 4


def test_people_with_one_image_do_not_count(faces):
    embeddings, people = faces
    more, others = np.r_[embeddings, embeddings[:9] * 3], np.r_[people, 100 + np.arange(9)]
    found, expected = within_class_whitening(more, others, 0.5), within_class_whitening(embeddings, people, 0.5)
    assert np.allclose(found, expected)
    assert np.allclose(within_class_whitening(more, np.arange(len(more)), 0.5), np.eye(6) * np.sqrt(12))


def test_it_becomes_part_of_the_last_layer_and_is_fitted_on_training_people(tiny):
    config = tiny.change({**COMPACT, "model.head": "cosine", "model.flip_average": True})
    data = prepare_bank(config.data), load_pairs(config.data)
    images, sets = gather_sets(*data)
    plain, whitened = (
        build_scorer(config.change({"model.whitening": share}), images, sets, None, "float32", 0) for share in (0, 0.5)
    )
    rows = np.arange(len(images))
    before = np.asarray(plain.embed(rows))
    assert np.array_equal(before, whitened.embed(rows))  # nothing yet: training is the same
    validated = plain.validate()
    assert validated == whitened.validate()
    learned = learned_rows(sets["train"], None)
    unit = before[learned] / np.linalg.norm(before[learned], axis=1, keepdims=True)
    matrix = within_class_whitening(unit, people_of(images)[learned], 0.5)
    whitened.settle()
    assert np.allclose(whitened.embed(rows), before @ matrix, rtol=1e-3, atol=1e-5)
    calibrated = whitened.scores("val")
    whitened.calibrate()
    assert np.array_equal(whitened.scores("val"), calibrated)  # after the whitening, not before
    plain.settle()
    assert np.array_equal(plain.embed(rows), before)
