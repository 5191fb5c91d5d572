"""Try your own: two photos are scored; faces are found and framed as in `lfwstudy verify`, or boxes drawn by hand."""

import io
from functools import cache

import ipywidgets
import numpy as np
from PIL import Image

from lfwstudy.report.figures import image_uri
from lfwstudy.study.results import Results
from lfwstudy.verify import THRESHOLD, kept
from lfwstudy.verify.faces import Box, find_faces, frame_face, full_size, largest_face, read_photo
from lfwstudy.verify.network import TOWER
from lfwstudy.widgets.controls import BoxPicker, Gallery, Message, blank, button, card, dropdown, markup, row
from lfwstudy.widgets.explorer import Explorer

_PREVIEW = 600
_PRIVACY = "The photos stay in this notebook's memory, on the machine that runs it: nothing is sent or written to disk."
_LIMITS = (
    "Photos are framed, not aligned like the training images: the accuracy on such photos is unmeasured, and the score "
    "is no proof of identity."
)


class OwnPhotos(Explorer):
    """Two photos of your own, scored by the study's best network or the shipped one.

    Nothing leaves the machine that runs Jupyter.
    """

    def build(self, study: Results) -> list[ipywidgets.Widget]:
        self.left, self.right = self.sides = _Side("left"), _Side("right")
        self.load = cache(kept.load_network)
        options = [("this study's best network", str(study.out))]
        if (kept.SHIPPED / TOWER).is_file():
            options.append(("the network shipped with the package", ""))
        p = self.add(
            network=dropdown("Network", options),
            score=button("Same person?"),
            answer=markup("3em"),
            seen=Gallery(label="What the network sees", slots=2, across=1, lines=1, size=105, empty="Nothing yet."),
        )
        self.watch(self.compare, p.score)
        # Clear an answer about another photo, box or network.
        for control, trait in ((p.network, "value"), (self.left.box, "box"), (self.right.box, "box")):
            control.observe(lambda _: blank(p.answer, p.seen), trait)
        return [Message(_PRIVACY), row(*self.sides), p.network, p.score, p.answer, p.seen, p.message]

    def compare(self) -> str:
        """Score the two faces."""
        p = self.parts
        blank(p.answer, p.seen)
        missing = [side.name for side in self.sides if not side.box.box]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            return f"The {' and the '.join(missing)} photo {verb} not chosen, or the face's box is not drawn."
        p.message.tell("Loading the network.")
        network = self.load(p.network.value)
        images = [
            network.frame(frame_face(side.photo, tuple(side.box.box), f"the {side.name} photo")) for side in self.sides
        ]
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
        self.name, self.photo = name, Image.new("L", (1, 1))
        self.upload = button(f"Choose {name} photo", ipywidgets.FileUpload, accept="image/*")
        self.message = Message(height="3.2em")
        self.box, self.face = BoxPicker(label=f"{name.capitalize()} photo"), dropdown("Face", [], "26em")
        rows = [self.upload, self.message, self.box, self.face]
        super().__init__(rows, layout=ipywidgets.Layout(width="27em"))
        self.upload.observe(self.message.guard(self.read), "value")
        self.face.observe(self.take, "value")
        self.offer([])

    def read(self) -> str:
        """Read the chosen photo and look for its face."""
        self.offer([])
        self.box.image = ""
        if not self.upload.value:
            return ""
        (file,) = self.upload.value
        self.photo = read_photo(io.BytesIO(file["content"]), file["name"])
        found = find_faces(self.photo)
        # Set the box before the image: a later one would replace a box drawn meanwhile.
        self.box.width, self.box.height = full_size(self.photo)
        self.offer(found)
        small = self.photo.copy()
        small.thumbnail((_PREVIEW, _PREVIEW))
        self.box.image = image_uri(np.asarray(small))
        if not found:
            return f"{file['name']}: no face found. Draw a box around the face, by pointer or with the arrow keys."
        if len(found) == 1:
            return "One face was found; draw another box if it is the wrong one."
        return f"{len(found)} faces were found: the largest, most central one is taken. Choose another below, or draw a box."

    def offer(self, found: list[Box]) -> None:
        """Take the largest, most central of the faces found, and offer the others."""
        best = largest_face(found, full_size(self.photo)) if found else None
        ordered = sorted(found, key=lambda box: box != best)
        self.face.options = [
            (f"{n} of {len(found)}, {box[2] - box[0]} pixels wide", box) for n, box in enumerate(ordered, 1)
        ]
        self.face.value = best
        self.face.layout.visibility = "visible" if len(found) > 1 else "hidden"
        self.take()

    def take(self, _: object = None) -> None:
        """Take the chosen face's box."""
        self.box.box = list(self.face.value or [])
