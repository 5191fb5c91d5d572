"""What do made-up people look like? Faces drawn from two seeds: who it is, and how the photo was taken.

Identity (face shape, hair, brows, eyes, nose, mouth, spacing, tone) is drawn once per person; pose, light,
expression, blur, background and noise once per image.
"""

import numpy as np

SIDE = 250


def draw_face(person_seed, photo_seed):
    """One drawn face: uint8 array (250, 250). The first seed decides who it is, the second how the picture was taken."""
    person = _Person(np.random.default_rng(person_seed))
    return _draw(person, np.random.default_rng(photo_seed))


class _Person:
    """What does not change between the pictures of one person; lengths in pixels of the 250x250 picture."""

    def __init__(self, rng):
        u = rng.uniform
        self.half_width, self.half_height = u(41, 58), u(57, 73)
        self.jaw, self.roundness = u(0.05, 0.45), u(0.75, 1.0)
        self.skin = u(95, 220)
        dark = min(150, self.skin - 10)
        self.hair = u(15, dark) if rng.random() < 0.75 else u(150, 235)
        self.style = int(rng.integers(6))
        self.hairline, self.hair_height, self.parting = u(0.45, 0.85), u(6, 20), u(-0.6, 0.6)
        self.eye_gap, self.eye_height = u(17, 27), u(-0.22, -0.05)
        self.eye_size, self.eye_open, self.eye_tilt = u(6.5, 11), u(0.38, 0.66), u(-0.2, 0.2)
        self.iris = u(20, 120)
        self.brow_gap, self.brow_weight, self.brow_tilt = u(9, 17), u(2, 6.5), u(-0.25, 0.3)
        self.brow_tone = np.clip(self.hair + u(-25, 10), 10, self.skin - 30)
        self.nose_length, self.nose_width = u(20, 34), u(6, 13)
        self.mouth_width, self.lip, self.mouth_drop = u(14, 26), u(2.5, 7), u(0.42, 0.58)
        self.lip_tone = self.skin * u(0.5, 0.82)
        self.ears = u(0, 9)
        self.beard = int(rng.choice(4, p=[0.7, 0.1, 0.1, 0.1]))
        self.glasses = rng.random() < 0.15
        self.frame = u(1.4, 3.2)
        self.mole = (u(-0.6, 0.6), u(0.05, 0.6)) if rng.random() < 0.25 else None


def _draw(p, rng):
    """Draw a person: background, body, hair behind, face, features, hair in front, then light and camera."""
    import cv2

    u = rng.uniform
    yaw, nod = u(-1, 1), u(-1, 1)
    smile, surprise, gaze = u(-0.4, 1.0), u(-0.5, 1.0), u(-0.3, 0.3)
    cx, cy = 125 + 2 * u(-1, 1), 130 + 2 * u(-1, 1)
    a = p.half_width * (1 - 0.05 * abs(yaw))
    b = p.half_height
    # Features lie in front of the head's axis, so that they shift when it turns.
    fx, fy = cx + 8 * yaw, cy + 5 * nod
    canvas = _background(rng)

    def fill(points, tone):
        cv2.fillPoly(canvas, [np.round(np.asarray(points) * 16).astype(np.int32)], float(tone), cv2.LINE_AA, 4)

    def oval(x, y, rx, ry, tone, tilt=0.0):
        fill(_ellipse(x, y, rx, ry, tilt), tone)

    def stroke(points, tone, weight):
        cv2.polylines(
            canvas,
            [np.round(np.asarray(points) * 16).astype(np.int32)],
            False,
            float(tone),
            max(1, round(weight)),
            cv2.LINE_AA,
            4,
        )

    clothes = u(20, 235)
    oval(cx, cy + b + 88, 98 + u(-8, 8), 68, clothes)
    fill(
        [
            (cx - 0.5 * a, cy + 0.5 * b),
            (cx + 0.5 * a, cy + 0.5 * b),
            (cx + 0.55 * a, cy + b + 38),
            (cx - 0.55 * a, cy + b + 38),
        ],
        0.8 * p.skin,
    )
    if p.style in (3, 4):  # long hair falls behind the face
        oval(cx, cy + 0.1 * b, 1.28 * a, (1.12 if p.style == 3 else 1.45) * b, p.hair)
    elif p.style != 0:
        oval(cx, cy - 0.22 * b, 1.07 * a, b * 0.9 + 0.6 * p.hair_height, p.hair)
    for side in (-1, 1):
        oval(cx + side * a * 0.98 - 2 * yaw, cy, p.ears * 0.8 + 1, 9 + p.ears, 0.88 * p.skin)
    outline = _outline(cx, cy, a, b, p)
    fill(outline, p.skin)
    if p.style == 5:  # receding: a narrow rim of hair at the temples
        for side in (-1, 1):
            oval(cx + side * a * 0.93, cy - 0.35 * b, 0.13 * a, 0.3 * b, p.hair)
    elif p.style != 0:
        fill(_hair_front(outline, cx, cy, a, b, p, yaw), p.hair)

    shade = p.skin * 0.72
    for side in (-1, 1):
        ex, ey = fx + side * p.eye_gap * (1 - 0.06 * side * yaw), fy + p.eye_height * b
        opened = p.eye_size * p.eye_open * np.clip(1 + 0.35 * surprise - 0.25 * max(smile, 0), 0.3, 1.5)
        oval(ex, ey, p.eye_size, opened, min(245, p.skin + 60), side * p.eye_tilt)
        oval(ex + gaze * p.eye_size, ey, min(opened * 1.05, p.eye_size * 0.55), min(opened, p.eye_size * 0.55), p.iris)
        oval(ex + gaze * p.eye_size, ey, 1.8, min(1.8, opened), 8)
        stroke(_arc(ex, ey, p.eye_size, -opened, side * p.eye_tilt), shade * 0.5, 1.6)
        by = ey - p.brow_gap - 2.5 * surprise
        stroke(_arc(ex, by, p.eye_size * 1.35, -3.0, side * p.brow_tilt), p.brow_tone, p.brow_weight)
        if p.glasses:
            stroke(_ellipse(ex, ey + 1, p.eye_size * 1.7, p.eye_size * 1.35), 30, p.frame)
    if p.glasses:
        stroke(
            [
                (fx - p.eye_gap + p.eye_size * 1.7, fy + p.eye_height * b),
                (fx + p.eye_gap - p.eye_size * 1.7, fy + p.eye_height * b),
            ],
            30,
            p.frame,
        )

    top, tip = fy + p.eye_height * b + 6, fy + p.eye_height * b + p.nose_length
    stroke([(fx + 2 * yaw, top), (fx + 3.5 * yaw, tip)], p.skin * 0.88, 3)
    oval(fx + 3.5 * yaw, tip, p.nose_width, p.nose_width * 0.55, p.skin * 0.86)
    for side in (-1, 1):
        oval(fx + 3.5 * yaw + side * p.nose_width * 0.55, tip + 2, 2.2, 1.5, shade * 0.55)

    mx, my = fx + yaw, fy + p.mouth_drop * b
    if p.beard in (1, 3):
        oval(mx, my - p.lip - 5, p.mouth_width * 0.95, 4.5, p.hair)
    if p.beard in (2, 3):
        oval(mx, my + 0.27 * b, p.mouth_width * 1.05, 0.2 * b, p.hair)
    wide = p.mouth_width * (1 + 0.18 * max(smile, 0))
    fill(_mouth(mx, my, wide, p.lip, 6 * smile), p.lip_tone)
    if surprise > 0.55:
        oval(mx, my + 2 * smile, wide * 0.6, 1.5 + 3 * surprise, 35 if smile < 0.3 else 230)
    else:
        stroke(_arc(mx, my, wide * 0.95, 6 * smile), p.lip_tone * 0.55, 1.4)
    if p.mole:
        oval(fx + p.mole[0] * a, fy + p.mole[1] * b, 2.4, 2.4, shade * 0.6)
    return _photograph(canvas, rng)


def _background(rng):
    """Smooth ramps and a few blurred shapes."""
    import cv2

    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    canvas = rng.uniform(40, 210) + rng.uniform(-40, 40) * ramp[:, None] + rng.uniform(-40, 40) * ramp[None, :]
    for _ in range(rng.integers(2, 6)):
        x, y = rng.uniform(0, SIDE, 2)
        cv2.ellipse(
            canvas,
            (int(x), int(y)),
            (int(rng.uniform(10, 70)), int(rng.uniform(10, 70))),
            rng.uniform(0, 180),
            0,
            360,
            rng.uniform(10, 245),
            -1,
            cv2.LINE_AA,
        )
    return cv2.GaussianBlur(np.ascontiguousarray(canvas), (0, 0), rng.uniform(2, 9))


def _photograph(canvas, rng):
    """Light from a side, a slightly rotated, zoomed and shifted camera, blur, contrast and noise."""
    import cv2

    u = rng.uniform
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = 1 + u(-0.28, 0.28) * ramp[None, :] + u(-0.15, 0.15) * ramp[:, None]
    turn = cv2.getRotationMatrix2D((125, 125), u(-6, 6), u(0.95, 1.06))
    turn[:, 2] += u(-4, 4, 2)
    image = cv2.warpAffine(
        (canvas * light).astype(np.float32), turn, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    image = cv2.GaussianBlur(image, (0, 0), u(0.5, 1.9))
    image = (image - 128) * u(0.75, 1.15) + 128 + u(-24, 24)
    image += rng.standard_normal(image.shape, np.float32) * u(2, 8)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _ellipse(x, y, rx, ry, tilt=0.0, count=40):
    t = np.linspace(0, 2 * np.pi, count)
    return _rotated(x, y, rx * np.cos(t), ry * np.sin(t), tilt)


def _arc(x, y, rx, rise, tilt=0.0):
    """An arc of half-width `rx` whose middle lies `rise` below its ends."""
    t = np.linspace(-1, 1, 15)
    return _rotated(x, y, rx * t, rise * (1 - t * t), tilt)


def _mouth(x, y, rx, lip, curve):
    t = np.linspace(-1, 1, 17)
    middle, thick = curve * (0.5 - t * t), lip * (1 - t * t)
    upper = np.stack([x + rx * t, y + middle - thick * 0.8], axis=1)
    lower = np.stack([x + rx * t, y + middle + thick], axis=1)
    return np.concatenate([upper, lower[::-1]])


def _rotated(x, y, dx, dy, tilt):
    c, s = np.cos(tilt), np.sin(tilt)
    return np.stack([x + c * dx - s * dy, y + s * dx + c * dy], axis=1)


def _outline(cx, cy, a, b, p):
    """The face: a superellipse whose lower half tapers towards the chin."""
    t = np.linspace(0, 2 * np.pi, 80)
    x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** p.roundness
    y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** p.roundness
    x *= 1 - p.jaw * np.clip(y, 0, 1) ** 2
    return np.stack([cx + a * x, cy + b * y], axis=1)


def _hair_front(outline, cx, cy, a, b, p, yaw):
    """The upper part of the face covered by hair, down to the hairline, which depends on the style."""
    x = np.linspace(-1, 1, 25)
    line = {
        1: 0 * x,
        2: 0.22 * (x > p.parting) + 0.05 * x,
        3: 0.32 * np.abs(x - p.parting),
        4: 0.18 - 0.25 * np.abs(x),
        5: 0 * x,
    }[p.style]
    edge_y = cy - b * p.hairline + b * np.clip(line, -0.2, 0.45)
    edge = np.stack([cx + 1.05 * a * x + 2 * yaw, edge_y], axis=1)
    t = np.linspace(0, np.pi, 25)
    crown = np.stack([cx + 1.08 * a * np.cos(t), cy - 0.35 * b - (0.65 * b + p.hair_height) * np.sin(t)], axis=1)
    return np.concatenate([edge, crown])
