import numpy as np
import pytest

from lfwstudy.config import TrainingConfig
from lfwstudy.training.augment import (
    IDENTITY,
    affine_parameters,
    blank,
    clip_labels,
    draw_copies,
    draw_online,
    draw_rectangles,
    vary,
)


@pytest.fixture
def images(rng):
    smooth = rng.random((3, 8, 8)).repeat(8, 1).repeat(8, 2)
    return smooth[..., None].astype(np.float32)


def warp(images, **settings):
    given = {"zoom_x": 1.0, "zoom_y": 1.0, "shear": 0.0, "brightness": 1.0, **settings}
    parameters = np.tile(affine_parameters(images.shape[1], **given), (len(images), 1))
    return np.asarray(vary(images, parameters))


def test_identity_leaves_pictures_as_they_are(images):
    assert np.allclose(np.asarray(vary(images, np.tile(IDENTITY, (3, 1)))), images, atol=1e-6)
    assert np.allclose(warp(images), images, atol=1e-6)


def test_zoom_below_one_enlarges_about_the_centre():
    image = np.zeros((1, 65, 65, 1), np.float32)
    image[0, 24:41, 24:41] = 1
    inner, outer = warp(image, zoom_x=0.88, zoom_y=0.88), warp(image, zoom_x=1.02, zoom_y=1.02)
    assert outer.sum() < image.sum() < inner.sum()
    for varied in (inner, outer):
        rows, columns = np.nonzero(varied[0, :, :, 0] > 0.5)
        assert abs(rows.mean() - 32) < 0.5 and abs(columns.mean() - 32) < 0.5
    assert abs(inner.sum() / image.sum() - 1 / 0.88**2) < 0.05


def test_edges_are_filled_with_the_nearest_pixel():
    image = np.full((1, 32, 32, 1), 0.7, np.float32)
    assert np.allclose(warp(image, zoom_x=1.5, zoom_y=1.5, shear=0.4), 0.7, atol=1e-5)


def test_shear_is_an_angle_and_keeps_the_centre():
    image = np.zeros((1, 65, 65, 1), np.float32)
    image[0, :, 32] = 1
    column = warp(image, shear=np.deg2rad(5))[0, :, :, 0].argmax(axis=1)
    assert column[32] == 32
    assert abs(abs(int(column[62]) - int(column[2])) - 60 * np.tan(np.deg2rad(5))) <= 1.5


def test_brightness_is_a_factor_clipped_to_one(images):
    assert np.allclose(warp(images, brightness=1.05), np.clip(images * 1.05, 0, 1), atol=1e-5)


def test_copies_are_fixed_and_independent_of_how_many_pairs_there_are():
    settings = {"copies": 2, "side": 105, "zoom": (0.88, 1.02), "brightness": (0.95, 1.05), "shear": 5.0}
    many, few = draw_copies(3, 10, **settings), draw_copies(3, 4, **settings)
    assert many.shape == (10, 3, 2, 7) and (many[:4] == few).all()
    assert (many[:, 0] == IDENTITY).all()
    assert len(np.unique(many[:, 1:].reshape(-1, 7), axis=0)) == 40
    assert (draw_copies(4, 4, **settings) != few).any()


def test_copies_stay_in_their_ranges():
    drawn = draw_copies(0, 500, 2, 105, (0.88, 1.02), (0.95, 1.05), 5.0)[:, 1:].reshape(-1, 7)
    assert 0.88 <= drawn[:, 0].min() < 0.89 and 1.01 < drawn[:, 0].max() <= 1.02
    assert drawn[:, 6].min() >= 0.95 and drawn[:, 6].max() <= 1.05
    corners = np.array([[x, y, 1] for x in (0, 104) for y in (0, 104)])
    moved = np.einsum("nij,cj->nci", drawn[:, :6].reshape(-1, 2, 3), corners) - corners[:, :2]
    # A face is not shifted: the centre stays, and no corner moves by more than zoom and shear allow.
    assert np.abs(moved).max() < 52 * (0.12 + 0.09) + 1
    centre = np.einsum("nij,j->ni", drawn[:, :6].reshape(-1, 2, 3), [52, 52, 1])
    assert np.allclose(centre, 52, atol=1e-3)


def test_labels_are_clipped_as_the_report_has_it():
    assert np.allclose(clip_labels([0, 1], 0.03), [0.015, 0.985])
    assert np.allclose(clip_labels([0, 1], 0.0), [0, 1])
    assert np.allclose(clip_labels([0, 1], 0.3, classes=3), [0.1, 0.8])


ONLINE = TrainingConfig(flip=True, shift=0.05, online_zoom=0.1, rotation=10.0, online_brightness=0.2, erase=0.5)


def test_online_variation_is_new_in_every_epoch_and_the_same_for_a_seed():
    draw = lambda epoch: draw_online(np.random.default_rng([1, 50, epoch]), 40, 96, ONLINE)  # noqa: E731
    assert (draw(1) == draw(1)).all() and (draw(1) != draw(2)).any()
    assert 8 < (draw(1)[:, 0] < 0).sum() < 32  # about half are mirrored


def test_no_online_variation_is_the_identity():
    assert np.allclose(draw_online(np.random.default_rng(0), 3, 96, TrainingConfig()), IDENTITY)


def test_mirroring_alone_is_a_mirror_image(rng):
    images = rng.random((20, 32, 32, 1)).astype(np.float32)
    parameters = draw_online(np.random.default_rng(0), 20, 32, TrainingConfig(flip=True))
    varied = np.asarray(vary(images, parameters))
    mirrored = parameters[:, 0] < 0
    assert np.allclose(varied[mirrored], images[mirrored][:, :, ::-1], atol=1e-5)
    assert np.allclose(varied[~mirrored], images[~mirrored], atol=1e-6)


def test_erased_rectangles_are_grey_and_the_rest_is_kept(rng):
    images = rng.random((50, 40, 40, 1)).astype(np.float32)
    rectangles = draw_rectangles(np.random.default_rng(0), 50, 40, 0.5)
    erased = np.asarray(blank(images, rectangles))
    changed = (erased != images).mean(axis=(1, 2, 3))
    empty = (rectangles == 0).all(axis=1)
    assert 10 < empty.sum() < 40 and (changed[empty] == 0).all()
    assert (changed[~empty] > 0.01).all() and (changed < 0.3).all()
    assert np.allclose(erased[erased != images], 0.5)
    assert (rectangles >= 0).all() and (rectangles <= 40).all()
