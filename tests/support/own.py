"""A folder of drawn people as users have them: any names, formats and sizes."""

from itertools import cycle
from pathlib import Path

from PIL import Image

from lfwstudy.data.demo import made_up_names
from lfwstudy.data.drawn_faces import draw_face

FORMATS = ("png", "jpg", "webp", "bmp", "tga", "tiff")


def write_own_people(folder: Path, people: int = 30, images: int = 4, seed: int = 9) -> Path:
    """`people` folders, "Ada Abendrot" and so on, of one to `images` images each; returns `folder`."""
    suffix = cycle(FORMATS)
    for index, name in enumerate(made_up_names(people)):
        person = folder / name.replace("_", " ")
        person.mkdir(parents=True)
        for number in range(1 + index % images):
            face = Image.fromarray(draw_face([seed, index], [seed, index, number])).convert("RGB")
            face.resize((400, 300)).save(person / f"IMG {number}.{next(suffix)}")
    return folder
