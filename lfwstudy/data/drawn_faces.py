"""Drawn faces of made-up people, from two seeds: one for the person, one for the photo.

Identity (face shape, hair, brows, eyes, nose, mouth, spacing, tone) is drawn once per person; pose, light,
expression, blur, background and noise once per image.
"""

from collections.abc import Sequence

import numpy as np

SIDE = 250


def draw_face(person_seed: Sequence[int], photo_seed: Sequence[int]) -> np.ndarray:
    """One drawn face: uint8 array (250, 250). The first seed decides the person, the second the photo."""
    person, rng = _Person(np.random.default_rng(person_seed)), np.random.default_rng(photo_seed)
    face = _Face(person, rng)
    face.draw_body_and_head(rng)
    for side in (-1, 1):
        face.draw_eye(side)
    face.draw_nose_and_bridge()
    face.draw_mouth()
    return _photograph(face.canvas, rng)


class _Person:
    """The features shared by all images of a person; lengths in pixels of the 250x250 image."""

    def __init__(self, rng: np.random.Generator) -> None:
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


class _Face:
    """A person before the camera: pose and expression, and the canvas on which they are drawn."""

    def __init__(self, person: _Person, rng: np.random.Generator) -> None:
        u, self.person = rng.uniform, person
        self.yaw, nod = u(-1, 1), u(-1, 1)
        self.smile, self.surprise, self.gaze = u(-0.4, 1.0), u(-0.5, 1.0), u(-0.3, 0.3)
        self.x, self.y = 125 + 2 * u(-1, 1), 130 + 2 * u(-1, 1)
        self.half_width, self.half_height = person.half_width * (1 - 0.05 * abs(self.yaw)), person.half_height
        # Features lie in front of the head's axis, so that they shift when it turns.
        self.front_x, self.front_y = self.x + 8 * self.yaw, self.y + 5 * nod
        self.eye_y = self.front_y + person.eye_height * self.half_height
        self.shade = person.skin * 0.72
        self.canvas = _background(rng)

    def draw_body_and_head(self, rng: np.random.Generator) -> None:
        """Clothes, neck, hair behind, ears, face, hair in front."""
        p, x, y, a, b = self.person, self.x, self.y, self.half_width, self.half_height
        clothes = rng.uniform(20, 235)
        self.oval(x, y + b + 88, 98 + rng.uniform(-8, 8), 68, clothes)
        neck = [(-0.5 * a, 0.5 * b), (0.5 * a, 0.5 * b), (0.55 * a, b + 38), (-0.55 * a, b + 38)]
        self.fill(np.add(neck, (x, y)), 0.8 * p.skin)
        if p.style in (3, 4):  # long hair falls behind the face
            self.oval(x, y + 0.1 * b, 1.28 * a, (1.12 if p.style == 3 else 1.45) * b, p.hair)
        elif p.style != 0:
            self.oval(x, y - 0.22 * b, 1.07 * a, b * 0.9 + 0.6 * p.hair_height, p.hair)
        for side in (-1, 1):
            self.oval(x + side * a * 0.98 - 2 * self.yaw, y, p.ears * 0.8 + 1, 9 + p.ears, 0.88 * p.skin)
        self.fill(_outline(x, y, a, b, p), p.skin)
        if p.style == 5:  # receding: a narrow rim of hair at the temples
            for side in (-1, 1):
                self.oval(x + side * a * 0.93, y - 0.35 * b, 0.13 * a, 0.3 * b, p.hair)
        elif p.style != 0:
            self.fill(_hair_front(x, y, a, b, p, self.yaw), p.hair)

    def draw_eye(self, side: int) -> None:
        """An eye with its brow, and its glass; side is -1 or 1."""
        p, y, size = self.person, self.eye_y, self.person.eye_size
        x = self.front_x + side * p.eye_gap * (1 - 0.06 * side * self.yaw)
        opened = size * p.eye_open * np.clip(1 + 0.35 * self.surprise - 0.25 * max(self.smile, 0), 0.3, 1.5)
        self.oval(x, y, size, opened, min(245, p.skin + 60), side * p.eye_tilt)
        iris_x = x + self.gaze * size
        self.oval(iris_x, y, min(opened * 1.05, size * 0.55), min(opened, size * 0.55), p.iris)
        self.oval(iris_x, y, 1.8, min(1.8, opened), 8)
        self.stroke(_arc(x, y, size, -opened, side * p.eye_tilt), self.shade * 0.5, 1.6)
        brow_y = y - p.brow_gap - 2.5 * self.surprise
        self.stroke(_arc(x, brow_y, size * 1.35, -3.0, side * p.brow_tilt), p.brow_tone, p.brow_weight)
        if p.glasses:
            self.stroke(_ellipse(x, y + 1, size * 1.7, size * 1.35), 30, p.frame)

    def draw_nose_and_bridge(self) -> None:
        """The nose, with the bridge of the glasses in front of it."""
        p, x, tip = self.person, self.front_x, self.eye_y + self.person.nose_length
        if p.glasses:
            half = p.eye_gap - p.eye_size * 1.7
            self.stroke([(x - half, self.eye_y), (x + half, self.eye_y)], 30, p.frame)
        tip_x = x + 3.5 * self.yaw
        self.stroke([(x + 2 * self.yaw, self.eye_y + 6), (tip_x, tip)], p.skin * 0.88, 3)
        self.oval(tip_x, tip, p.nose_width, p.nose_width * 0.55, p.skin * 0.86)
        for side in (-1, 1):
            self.oval(tip_x + side * p.nose_width * 0.55, tip + 2, 2.2, 1.5, self.shade * 0.55)

    def draw_mouth(self) -> None:
        """Beard, lips, and a mole."""
        p, b, smile = self.person, self.half_height, self.smile
        x, y = self.front_x + self.yaw, self.front_y + p.mouth_drop * b
        if p.beard in (1, 3):
            self.oval(x, y - p.lip - 5, p.mouth_width * 0.95, 4.5, p.hair)
        if p.beard in (2, 3):
            self.oval(x, y + 0.27 * b, p.mouth_width * 1.05, 0.2 * b, p.hair)
        wide = p.mouth_width * (1 + 0.18 * max(smile, 0))
        self.fill(_mouth(x, y, wide, p.lip, 6 * smile), p.lip_tone)
        if self.surprise > 0.55:
            self.oval(x, y + 2 * smile, wide * 0.6, 1.5 + 3 * self.surprise, 35 if smile < 0.3 else 230)
        else:
            self.stroke(_arc(x, y, wide * 0.95, 6 * smile), p.lip_tone * 0.55, 1.4)
        if p.mole:
            mole_x, mole_y = self.front_x + p.mole[0] * self.half_width, self.front_y + p.mole[1] * b
            self.oval(mole_x, mole_y, 2.4, 2.4, self.shade * 0.6)

    def fill(self, points: np.ndarray, tone: float) -> None:
        import cv2

        cv2.fillPoly(self.canvas, [_sixteenths(points)], float(tone), cv2.LINE_AA, 4)

    def oval(self, x: float, y: float, rx: float, ry: float, tone: float, tilt: float = 0.0) -> None:
        self.fill(_ellipse(x, y, rx, ry, tilt), tone)

    def stroke(self, points: np.ndarray | list, tone: float, weight: float) -> None:
        import cv2

        cv2.polylines(self.canvas, [_sixteenths(points)], False, float(tone), max(1, round(weight)), cv2.LINE_AA, 4)


def _sixteenths(points: np.ndarray | list) -> np.ndarray:
    """Points in OpenCV's fixed-point numbers of 4 fractional bits."""
    return np.round(np.asarray(points) * 16).astype(np.int32)


def _background(rng: np.random.Generator) -> np.ndarray:
    """Smooth ramps and a few blurred shapes: float32 array (250, 250)."""
    import cv2

    u = rng.uniform
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    canvas = u(40, 210) + u(-40, 40) * ramp[:, None] + u(-40, 40) * ramp[None, :]
    for _ in range(rng.integers(2, 6)):
        centre = tuple(map(int, u(0, SIDE, 2)))
        axes = int(u(10, 70)), int(u(10, 70))
        cv2.ellipse(canvas, centre, axes, u(0, 180), 0, 360, u(10, 245), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(np.ascontiguousarray(canvas), (0, 0), u(2, 9))


def _photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from a side, a slightly rotated, zoomed and shifted camera, blur, contrast and noise: uint8 array (250, 250)."""
    import cv2

    u = rng.uniform
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = 1 + u(-0.28, 0.28) * ramp[None, :] + u(-0.15, 0.15) * ramp[:, None]
    turn = cv2.getRotationMatrix2D((125, 125), u(-6, 6), u(0.95, 1.06))
    turn[:, 2] += u(-4, 4, 2)
    lit = (canvas * light).astype(np.float32)
    image = cv2.warpAffine(lit, turn, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    image = cv2.GaussianBlur(image, (0, 0), u(0.5, 1.9))
    image = (image - 128) * u(0.75, 1.15) + 128 + u(-24, 24)
    image += rng.standard_normal(image.shape, np.float32) * u(2, 8)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 40)
    return _rotated(x, y, rx * np.cos(t), ry * np.sin(t), tilt)


def _arc(x: float, y: float, rx: float, rise: float, tilt: float = 0.0) -> np.ndarray:
    """An arc of half-width `rx` whose middle lies `rise` below its ends."""
    t = np.linspace(-1, 1, 15)
    return _rotated(x, y, rx * t, rise * (1 - t * t), tilt)


def _rotated(x: float, y: float, dx: np.ndarray, dy: np.ndarray, tilt: float) -> np.ndarray:
    c, s = np.cos(tilt), np.sin(tilt)
    return np.stack([x + c * dx - s * dy, y + s * dx + c * dy], axis=1)


def _mouth(x: float, y: float, rx: float, lip: float, curve: float) -> np.ndarray:
    t = np.linspace(-1, 1, 17)
    middle, thick = curve * (0.5 - t * t), lip * (1 - t * t)
    upper = np.stack([x + rx * t, y + middle - thick * 0.8], axis=1)
    lower = np.stack([x + rx * t, y + middle + thick], axis=1)
    return np.concatenate([upper, lower[::-1]])


def _outline(x: float, y: float, a: float, b: float, p: _Person) -> np.ndarray:
    """The face: a superellipse whose lower half tapers towards the chin."""
    t = np.linspace(0, 2 * np.pi, 80)
    across, down = (np.sign(wave) * np.abs(wave) ** p.roundness for wave in (np.cos(t), np.sin(t)))
    across *= 1 - p.jaw * np.clip(down, 0, 1) ** 2
    return np.stack([x + a * across, y + b * down], axis=1)


def _hair_front(x: float, y: float, a: float, b: float, p: _Person, yaw: float) -> np.ndarray:
    """The upper part of the face covered by hair, down to the hairline, which depends on the style (1 to 4)."""
    t = np.linspace(-1, 1, 25)
    lines = (0 * t, 0.22 * (t > p.parting) + 0.05 * t, 0.32 * np.abs(t - p.parting), 0.18 - 0.25 * np.abs(t))
    edge_y = y - b * p.hairline + b * np.clip(lines[p.style - 1], -0.2, 0.45)
    edge = np.stack([x + 1.05 * a * t + 2 * yaw, edge_y], axis=1)
    t = np.linspace(0, np.pi, 25)
    crown = np.stack([x + 1.08 * a * np.cos(t), y - 0.35 * b - (0.65 * b + p.hair_height) * np.sin(t)], axis=1)
    return np.concatenate([edge, crown])
