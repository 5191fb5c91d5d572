import numpy as np
import pytest

from lfwstudy.training.covers import EYES_X, EYES_Y, cover, draw_covers


@pytest.mark.parametrize("crop, side", [(144, 128), (250, 105)])
def test_covers_hide_eyes_or_brow_and_leave_the_rest(crop, side):
    covers = draw_covers(np.random.default_rng(0), 400, crop, side, 0.75)
    images = np.full((400, side, side, 1), 0.8, np.float32)
    covered = np.asarray(cover(images, covers))[..., 0]
    drawn = (covers != 0).any(axis=(1, 2))
    assert 0.65 < drawn.mean() < 0.85 and (covered[~drawn] == images[0, 0, 0, 0]).all()
    dark = covered[drawn] < 0.4
    share = dark.mean(axis=(1, 2))
    assert (share > 0).all() and (share < 0.5).all()
    # The column between the eyes at the mouth is never covered; the nose's root is by bars, an eye by dark glasses.
    scale, corner = side / crop, (250 - crop) / 2
    x, y, mouth, eye = (
        round((at - corner) * scale) for at in (EYES_X, EYES_Y, EYES_Y + 40, EYES_X - 41 / 2)
    )  # fmt: skip
    assert not dark[:, mouth, x].any()
    bars, glasses = dark[:, y, x], dark[:, y, eye] & ~dark[:, y, x]
    frames = ~bars & ~glasses & dark[:, y].any(axis=1)
    bands = ~dark[:, y].any(axis=1)
    assert all(0.1 < kind.mean() < 0.4 for kind in (bars, glasses, frames, bands))
    assert dark[bands][:, :y].any(axis=(1, 2)).all() and not dark[bands][:, y:].any()


def test_no_cover_is_drawn_without_the_setting():
    assert not draw_covers(np.random.default_rng(0), 50, 144, 96, 0.0).any()
