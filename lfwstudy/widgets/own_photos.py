"""Try your own: two photos, the face found and framed as `lfwstudy verify` does or a box drawn by hand, scored."""

import base64
import io

import ipywidgets
import numpy as np

from lfwstudy.data.images import frame
from lfwstudy.errors import DataError
from lfwstudy.report.figures import image_uri
from lfwstudy.verify import photos as verification
from lfwstudy.verify.photos import THRESHOLD, find_face, frame_face, full_size, load_best_model, read_photo
from lfwstudy.widgets.controls import (
    BoxPicker,
    Gallery,
    button,
    dropdown,
    explorer,
    guarded,
    markup,
    message,
    panel,
    row,
    tell,
)

_PREVIEW = 600
_SIDES = ("left", "right")
_FOUND = "One face was found; draw another box if it is the wrong one."
_DRAW = "Draw a box around the face, by pointer or with the arrow keys."


@explorer
def try_your_own(study):
    """Two photos of your own, scored by the study's best network or the one that comes with the package.
    Nothing leaves the machine that Jupyter runs on."""
    uploads = {
        side: ipywidgets.FileUpload(
            description=f"Choose {side} photo",
            accept="image/*",
            multiple=False,
            layout=ipywidgets.Layout(width="auto", align_self="flex-start"),
        )
        for side in _SIDES
    }
    boxes = {side: BoxPicker(label=f"{side.capitalize()} photo") for side in _SIDES}
    messages = {side: markup("3.2em") for side in _SIDES}
    networks = [("this study's best network", str(study.out))]
    if (verification.SHIPPED / "model.keras").is_file():
        networks.append(("the network that comes with the package", ""))
    network = dropdown("Network", networks)
    score = button("Same person?")
    told, answer = message(), markup("3em")
    seen = Gallery(label="What the network sees", slots=2, across=1, lines=1, size=105, empty="Nothing yet.")
    photos, models = {}, {}

    def take(side):
        def read():
            answer.value, seen.cards, boxes[side].box, boxes[side].picture = "", [], [], ""
            photos.pop(side, None)
            if not uploads[side].value:
                return ""
            name = uploads[side].value[0]["name"]
            photo = read_photo(io.BytesIO(uploads[side].value[0]["content"]), name)
            try:
                found, told_ = list(find_face(photo, name, side)), _FOUND
            except DataError as error:
                found, told_ = [], f"{str(error).partition('. Give')[0]}. {_DRAW}"
            # The box before the photo: a box that came later would replace one that is drawn meanwhile.
            photos[side] = photo
            boxes[side].width, boxes[side].height = full_size(photo)
            boxes[side].box = found
            boxes[side].picture = _preview(photo)
            return told_

        return guarded(messages[side], read)

    def compare():
        answer.value, seen.cards = "", []
        missing = [side for side in _SIDES if side not in photos or len(boxes[side].box) != 4]
        if missing:
            return f"The {' and the '.join(missing)} photo {'is' if len(missing) == 1 else 'are'} not chosen, or the face's box is not drawn."
        if network.value not in models:
            tell(told, "Loading the network.")
            models[network.value] = load_best_model(network.value)
        scorer = models[network.value]
        data = scorer.data
        pictures = [
            frame(frame_face(photos[side], boxes[side].box), data.crop, data.side, data.filter) for side in _SIDES
        ]
        same = float(
            np.asarray(scorer.model([p[None, :, :, None].astype(np.float32) / 255 for p in pictures], training=False))[
                0, 0
            ]
        )
        seen.cards = [
            {
                "key": side,
                "pictures": [{"src": image_uri(p), "alt": f"{side} photo as framed"}],
                "text": side,
                "mark": "",
            }
            for side, p in zip(_SIDES, pictures)
        ]
        answer.value = (
            f"<p><b>{'Same person' if same > THRESHOLD else 'Different people'}</b>, says the network: P(same) {same:.2f}, threshold "
            f"{THRESHOLD:.2f}. Scored by {network.label}{', which has seen nothing but drawn demo faces' if scorer.is_demo else ''}.</p>"
        )
        return (
            "Photos are framed, not aligned like the training pictures: the accuracy on such photos is unmeasured, and "
            "the score is no proof of identity."
        )

    for side in _SIDES:
        uploads[side].observe(take(side), "value")
    for part, trait in ((network, "value"), (boxes["left"], "box"), (boxes["right"], "box")):
        part.observe(lambda _: setattr(answer, "value", ""), trait)
    score.on_click(guarded(told, compare))
    private = message()
    tell(
        private,
        "The photos stay in this notebook's memory, on the machine that runs it: nothing is sent elsewhere or written to "
        "disk.",
    )
    columns = [
        ipywidgets.VBox([uploads[side], messages[side], boxes[side]], layout=ipywidgets.Layout(width="27em"))
        for side in _SIDES
    ]
    return panel(
        private,
        row(*columns),
        network,
        score,
        answer,
        seen,
        told,
        network=network,
        left=uploads["left"],
        right=uploads["right"],
        left_box=boxes["left"],
        right_box=boxes["right"],
        left_message=messages["left"],
        right_message=messages["right"],
        score=score,
        answer=answer,
        seen=seen,
        message=told,
    )


def _preview(photo):
    small = photo.copy()
    small.thumbnail((_PREVIEW, _PREVIEW))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
