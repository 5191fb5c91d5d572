"""Try your own: two photos are scored; faces are found and framed as in `lfwstudy verify`, or boxes drawn by hand."""

import io
from functools import cache

import ipywidgets
import numpy as np
from PIL import Image

from lfwstudy.report.figures import image_uri
from lfwstudy.study.results import Results
from lfwstudy.verify import network as networks
from lfwstudy.verify.faces import count_faces, find_faces, frame_face
from lfwstudy.verify.photos import full_size, read_photo
from lfwstudy.verify.verifier import THRESHOLD
from lfwstudy.widgets.controls import BoxPicker, Gallery, Message, button, card, dropdown, markup, row
from lfwstudy.widgets.explorer import Explorer, explorer

_PREVIEW = 600
_PRIVACY = "The photos stay in this notebook's memory, on the machine that runs it: nothing is sent or written to disk."
_LIMITS = (
    "Photos are framed, not aligned like the training images: the accuracy on such photos is unmeasured, and the score "
    "is no proof of identity."
)


@explorer
def try_your_own(study: Results) -> Explorer:
    """Two photos of your own, scored by the study's best network or the shipped one.

    Nothing leaves the machine that runs Jupyter.
    """
    return _OwnPhotos(study)


class _OwnPhotos(Explorer):
    def __init__(self, study: Results) -> None:
        self.sides = [_Side("left"), _Side("right")]
        self.load = cache(networks.load_network)
        options = [("this study's best network", str(study.out))]
        if (networks.SHIPPED / "model.keras").is_file():
            options.append(("the network shipped with the package", ""))
        super().__init__(
            network=dropdown("Network", options),
            score=button("Same person?"),
            answer=markup("3em"),
            seen=Gallery(label="What the network sees", slots=2, across=1, lines=1, size=105, empty="Nothing yet."),
            **{f"{side.name}{part}": widget for side in self.sides for part, widget in side.parts.items()},
        )
        p = self.parts
        self.arrange(Message(_PRIVACY), row(*self.sides), p.network, p.score, p.answer, p.seen, p.message)
        self.press(p.score, self.compare)
        for control, trait in ((p.network, "value"), (p.left_box, "box"), (p.right_box, "box")):
            control.observe(self.forget, trait)

    def forget(self, _: object = None) -> None:
        """Clear an answer about another photo, box or network."""
        self.parts.answer.value, self.parts.seen.cards = "", []

    def compare(self) -> str:
        p = self.parts
        self.forget()
        missing = [side.name for side in self.sides if not side.is_ready()]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            return f"The {' and the '.join(missing)} photo {verb} not chosen, or the face's box is not drawn."
        p.message.tell("Loading the network.")
        network = self.load(p.network.value)
        images = [network.frame(side.face()) for side in self.sides]
        score = network.score_images(*images)
        p.seen.cards = [
            card(side.name, [{"src": image_uri(image), "alt": f"{side.name} photo as framed"}], side.name)
            for side, image in zip(self.sides, images)
        ]
        verdict = "Same person" if score > THRESHOLD else "Different people"
        demo = ", which was trained on drawn demo faces alone" if network.is_demo else ""
        p.answer.value = f"<p><b>{verdict}</b>: P(same) {score:.2f}, threshold {THRESHOLD:.2f}. Scored by {p.network.label}{demo}.</p>"
        return _LIMITS


class _Side(ipywidgets.VBox):
    """The left or right photo: a button to choose it, a message about it, and the box of its face."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.photo: Image.Image | None = None
        layout = ipywidgets.Layout(width="auto", align_self="flex-start")
        self.upload = ipywidgets.FileUpload(description=f"Choose {name} photo", accept="image/*", layout=layout)
        self.message = Message(height="3.2em")
        self.box = BoxPicker(label=f"{name.capitalize()} photo")
        self.parts = {"": self.upload, "_message": self.message, "_box": self.box}
        super().__init__([self.upload, self.message, self.box], layout=ipywidgets.Layout(width="27em"))
        self.upload.observe(self.message.guard(self.read), "value")

    def read(self) -> str:
        """Read the chosen photo and look for its face."""
        self.photo, self.box.box, self.box.image = None, [], ""
        if not self.upload.value:
            return ""
        (file,) = self.upload.value
        photo = read_photo(io.BytesIO(file["content"]), file["name"])
        boxes = find_faces(photo)
        # Set the box before the image: a later one would replace a box drawn meanwhile.
        self.box.width, self.box.height = full_size(photo)
        self.box.box = list(boxes[0]) if len(boxes) == 1 else []
        self.photo, self.box.image = photo, _preview(photo)
        if len(boxes) == 1:
            return "One face was found; draw another box if it is the wrong one."
        return f"{file['name']}: {count_faces(boxes)}. Draw a box around the face, by pointer or with the arrow keys."

    def is_ready(self) -> bool:
        """Whether there is a photo with a box."""
        return self.photo is not None and len(self.box.box) == 4

    def face(self) -> Image.Image:
        """The face, framed."""
        assert self.photo is not None
        return frame_face(self.photo, tuple(self.box.box))


def _preview(photo: Image.Image) -> str:
    small = photo.copy()
    small.thumbnail((_PREVIEW, _PREVIEW))
    return image_uri(np.asarray(small))
