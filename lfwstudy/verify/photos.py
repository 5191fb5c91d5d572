"""Are two photos of the same person? A user's own photos, framed as LFW frames its pictures, scored by a model."""

import csv
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.filetypes import HEAD, not_an_image
from lfwstudy.data.images import FORMATS, SOURCE_SIDE, frame, to_grey
from lfwstudy.errors import DataError, StudyError, is_the_machines, one_line
from lfwstudy.runs.store import Store
from lfwstudy.study.best import best_run
from lfwstudy.study.settings import default_root
from lfwstudy.system.files import read_csv, read_json

# LFW enlarges the box of the Viola-Jones detector so many times (Huang et al. 2007, section III).
ENLARGE = 2.2
THRESHOLD = 0.5
# The network that comes with the package, and its card (card.py).
SHIPPED = Path(__file__).with_name("shipped")
# Larger photos are made smaller, a JPEG while it is decoded, so that it may have more pixels than what is decoded whole.
_WORKING_PIXELS = 50_000_000
_MAX_PIXELS = 100_000_000
_MAX_JPEG_PIXELS = 250_000_000


def verify_photos(left, right, out="", left_box=None, right_box=None):
    """Score two photo files with a study's best network, or the package's own: an Answer.

    Boxes are (left, top, right, bottom) in pixels of the upright photo; without one the face is looked for. Raises
    DataError where a photo cannot be read or its face is not the only one, StudyError where there is no model.
    """
    photos = [load_photo(path) for path in (left, right)]
    boxes = [
        box or find_face(photo, path, side)
        for photo, path, side, box in zip(photos, (left, right), ("left", "right"), (left_box, right_box))
    ]
    faces = [frame_face(photo, box) for photo, box in zip(photos, boxes)]
    network = load_best_model(out)
    data = network.data
    pictures = [frame(face, data.crop, data.side, data.filter) for face in faces]
    inputs = [picture[None, :, :, None].astype(np.float32) / 255 for picture in pictures]
    return Answer(float(np.asarray(network.model(inputs, training=False))[0, 0]), network.name, network.is_demo)


@dataclass(frozen=True)
class Answer:
    """What a network says of two photos: the probability that they show one person, and the network's name."""

    score: float
    network: str
    is_demo: bool

    def __str__(self) -> str:
        who = "same person" if self.score > THRESHOLD else "different people"
        return f"{who}: P(same) {self.score:.2f}, threshold {THRESHOLD:.2f} (network: {self.network})"


def load_photo(path):
    """A photo file as upright grey Pillow image; see `read_photo`. Raises DataError."""
    try:
        with open(path, "rb") as file:
            return read_photo(file, path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or one_line(error)}") from error


def read_photo(file: BinaryIO, name: str | Path) -> Image.Image:
    """A photo from an open file as upright grey Pillow image, decoded smaller where it has very many pixels.

    How many times smaller is in its `info`, as "reduced". Raises DataError, in which the file is called `name`.
    """
    start = file.read(HEAD)
    file.seek(0)
    if foreign := not_an_image(start):
        raise DataError(f"{name}: {foreign}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow says of damaged metadata: the picture is what counts
            # A JPEG not through Image.open, whose limit against bombs is below what phones take; `_decode` has its own.
            with (
                JpegImageFile(file) if start.startswith(b"\xff\xd8\xff") else Image.open(file, formats=FORMATS) as image
            ):
                return _decode(image)
    except Image.DecompressionBombError:
        raise DataError(
            f"{name}: too many pixels (at most {_MAX_PIXELS:,}, in a JPEG {_MAX_JPEG_PIXELS:,}); save it smaller"
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a readable picture (damaged, or none of {', '.join(FORMATS)})") from None
    except Exception as error:
        # Pillow's decoders raise many kinds for damaged files.
        if is_the_machines(error):
            raise
        raise DataError(f"{name}: not a readable picture ({one_line(error)[:300] or type(error).__name__})") from error


def _decode(image):
    width, height = image.size
    if width * height > (_MAX_JPEG_PIXELS if image.format == "JPEG" else _MAX_PIXELS):
        raise Image.DecompressionBombError
    if image.format == "TIFF" and (image.tag_v2.get(254, 0) == 1 or 50706 in image.tag_v2):
        # What Pillow would decode is the preview in it.
        raise ValueError("a camera's raw photo; develop it, save it as JPEG or PNG and give that")
    if (shrink := _shrink(image)) > 1 and image.format == "JPEG":
        image.draft("L", (width // shrink, height // shrink))
    reduced = round(width / image.width)
    grey = to_grey(image)
    if (shrink := _shrink(grey)) > 1:
        grey, reduced = grey.reduce(shrink), reduced * shrink
    # Turned when grey: a turned copy has forgotten what the file says of its values.
    grey.getexif()[Base.Orientation] = image.getexif().get(Base.Orientation, 1)
    upright = ImageOps.exif_transpose(grey)
    upright.info["reduced"] = reduced
    return upright


def _shrink(image):
    """How many times an image must become smaller to have at most _WORKING_PIXELS."""
    return math.ceil(math.sqrt(image.width * image.height / _WORKING_PIXELS))


def full_size(photo: Image.Image) -> tuple[int, int]:
    """Width and height of a photo before it was decoded smaller: the pixels in which boxes are given."""
    reduced = photo.info.get("reduced", 1)
    return photo.width * reduced, photo.height * reduced


def find_face(photo, path, side):
    """The box of the only face in a photo: (left, top, right, bottom). Raises DataError where there are none or several."""
    import cv2

    detector = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))
    smallest = max(24, min(photo.size) // 12)
    found = detector.detectMultiScale(np.asarray(photo), 1.1, 6, minSize=(smallest, smallest))
    boxes = [tuple(int(v) * photo.info.get("reduced", 1) for v in (x, y, x + w, y + h)) for x, y, w, h in found]
    if len(boxes) != 1:
        listed = "".join(f"; {','.join(map(str, box))}" for box in boxes)
        raise DataError(
            f"{path}: {len(boxes) or 'no'} face{'s' if len(boxes) > 1 else ''} found{listed}. Give the "
            f"face's box with --{side}-box LEFT,TOP,RIGHT,BOTTOM in pixels"
        )
    return boxes[0]


def frame_face(photo, box):
    """The face's surroundings as LFW frames them: a grey Pillow image of 250x250, edges repeated where it ends."""
    size = full_size(photo)
    left, top, right, bottom = (v / photo.info.get("reduced", 1) for v in box)
    if right <= 0 or bottom <= 0 or left >= photo.width or top >= photo.height:
        raise DataError(f"the box {box} lies outside the photo of {size[0]}x{size[1]} pixels")
    if max(right - left, bottom - top) > 2 * max(photo.size):
        raise DataError(f"the box {box} is larger than the photo of {size[0]}x{size[1]} pixels")
    half = ENLARGE * max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    pad = int(np.ceil(max(0, half - x, half - y, x + half - photo.width, y + half - photo.height)))
    if (photo.width + 2 * pad) * (photo.height + 2 * pad) > 8 * _WORKING_PIXELS:
        raise DataError(
            f"the box {box} with its surroundings is too large for a photo of {size[0]}x{size[1]} pixels; give a "
            "smaller one"
        )
    padded = Image.fromarray(np.pad(np.asarray(photo), pad, mode="edge"))
    area = (x - half + pad, y - half + pad, x + half + pad, y + half + pad)
    return padded.resize((SOURCE_SIDE, SOURCE_SIDE), Image.Resampling.BILINEAR, box=area)


def load_best_model(out=""):
    """The siamese network of a study's best run with weights (`best.best_run`) as a Network; without a study the one that comes
    with the package.

    Raises StudyError where no finished run has kept its weights.
    """
    if not out and (SHIPPED / "model.keras").is_file():
        config = RunConfig.from_dict(read_json(SHIPPED / "run.json")["config"])
        return Network(load_model(SHIPPED / "model.keras"), config.data, "shipped with lfwstudy")
    folder = Path(out) if out else default_root() / "runs" / "demo-quick"
    if not (folder / "results.csv").is_file():
        raise StudyError(f"{folder}: no study here (results.csv is missing); run `lfwstudy run --out {folder}` first")
    store = Store(folder / "runs")
    try:
        rows = [row for row in read_csv(folder / "results.csv") if re.fullmatch("[0-9a-f]{16}", row.get("run") or "")]
        best = best_run(rows, store, need_weights=True)
    except (StudyError, OSError, ValueError, KeyError, csv.Error) as error:
        raise StudyError(
            f"{folder / 'results.csv'}: the best run cannot be told ({one_line(error)}); run `lfwstudy run --out "
            f"{folder}`, which mends it"
        ) from error
    if best is None:
        raise StudyError(f"{folder}: no finished run has kept its weights; run the study with --keep best")
    run = best["run"]
    try:
        config = RunConfig.from_dict(store.record(run)[0]["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{store.folder(run) / 'config.json'}: damaged ({one_line(error)}); `lfwstudy run` sets "
            "such a run aside and trains it anew"
        ) from error
    return Network(
        load_model(store.folder(run) / "model.keras"),
        config.data,
        f"{best['stage']}: {best['variant']}, seed {best['seed']}",
    )


@dataclass(frozen=True)
class Network:
    """A siamese network that was kept, how images are framed for it (DataConfig), and what it is called."""

    model: object
    data: DataConfig
    name: str

    @property
    def is_demo(self) -> bool:
        """Whether it has seen nothing but drawn faces."""
        return self.data.dataset == "demo"


def load_model(path):
    """Load a kept network in Keras' safe mode: nothing in the file is executed."""
    from lfwstudy.system.backend import start_keras_quietly

    start_keras_quietly()
    import keras

    from lfwstudy.network import siamese  # registers the network's own layers

    assert siamese
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file makes Keras raise many kinds
        raise StudyError(f"{path}: not a loadable network ({type(error).__name__}: {one_line(error)[:300]})") from error
