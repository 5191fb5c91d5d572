"""The controls of the explorers: labelled, usable by keyboard, and read aloud by screen readers."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import anywidget
import ipywidgets
import traitlets

from lfwstudy.errors import StudyError

HERE = Path(__file__).parent
# In words, not by colour alone.
MARKS = {"correct": "✓ correct", "incorrect": "✗ incorrect", "same": "✓ same person"}
# What a control calls: returns a sentence for the message, or nothing.
Step = Callable[[], str | None]
C = TypeVar("C", bound=ipywidgets.Widget)


def script(name: str) -> str:
    """A control's script, after what they share."""
    return (HERE / "dom.js").read_text() + (HERE / f"{name}.js").read_text()


def synced_list() -> "traitlets.List[Any]":
    """A list shared with the browser."""
    return traitlets.List().tag(sync=True)


class Slider(anywidget.AnyWidget):
    """A native range input: unlike ipywidgets' slider, it has a name for screen readers."""

    _esm, _css = script("slider"), HERE / "style.css"
    description = traitlets.Unicode().tag(sync=True)
    value = traitlets.Float().tag(sync=True)
    min = traitlets.Float(0.0).tag(sync=True)
    max = traitlets.Float(1.0).tag(sync=True)
    step = traitlets.Float(0.01).tag(sync=True)
    digits = traitlets.Int(2).tag(sync=True)


class SortableTable(anywidget.AnyWidget):
    """A table of texts that is sorted by its headings and filtered by words, in the browser. sort: a column, or -1."""

    _esm, _css = script("table"), HERE / "style.css"
    caption = traitlets.Unicode().tag(sync=True)
    columns = synced_list()
    rows = synced_list()
    sort = traitlets.Int(-1).tag(sync=True)
    descending = traitlets.Bool(False).tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)


class Gallery(anywidget.AnyWidget):
    """Cards of images with a text, made by `card`; with `opens` they are buttons, and `chosen` is the key of the last pressed.

    Room is reserved for `slots` cards of `across` images and `lines` of text, so that nothing jumps.
    """

    _esm, _css = script("gallery"), HERE / "style.css"
    label = traitlets.Unicode().tag(sync=True)
    cards = synced_list()
    marks = traitlets.Dict(MARKS).tag(sync=True)
    slots = traitlets.Int(0).tag(sync=True)
    across = traitlets.Int(2).tag(sync=True)
    lines = traitlets.Int(3).tag(sync=True)
    size = traitlets.Int(72).tag(sync=True)
    empty = traitlets.Unicode("none").tag(sync=True)
    opens = traitlets.Bool(False).tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)


def card(key: object, images: Sequence[dict[str, str]], text: str, mark: str = "") -> dict[str, Any]:
    """A card of a Gallery. images: {src, alt} each; mark: a key of MARKS, or none."""
    return {"key": str(key), "images": list(images), "text": text, "mark": mark}


class BoxPicker(anywidget.AnyWidget):
    """An image with a box drawn by pointer or keys. box: left, top, right, bottom in the image's pixels, or empty."""

    _esm, _css = script("box"), HERE / "style.css"
    label = traitlets.Unicode().tag(sync=True)
    image = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    height = traitlets.Int(0).tag(sync=True)
    box = synced_list()


class Flasher(anywidget.AnyWidget):
    """Shows trials one by one and times them in the browser.

    trials: dicts with left and right, data URIs. answers: for each answered trial {trial, same, shown_ms,
    response_ms, undisturbed}; shown_ms is measured between the browser's frames, response_ms from the pair's first frame.
    """

    _esm, _css = script("one_second"), HERE / "style.css"
    trials = synced_list()
    milliseconds = traitlets.Int(500).tag(sync=True)
    answers = synced_list()


class Message(ipywidgets.HTML):
    """A status line; screen readers announce its changes."""

    def __init__(self, text: str = "", height: str = "1.6em") -> None:
        super().__init__(layout=ipywidgets.Layout(min_height=height))
        self.tell(text)

    def tell(self, text: str) -> None:
        """Show a sentence in place of the previous one."""
        self.value = f'<p class="lfw-message" role="status" aria-live="polite">{escape(text)}</p>'

    def guard(self, function: Step) -> Callable[..., None]:
        """`function` as a widget's callback: shows the text it returns, or the user's error it raises."""

        def call(*_: object) -> None:
            try:
                text = function()
            except (StudyError, OSError) as error:
                text = sentence(error)
            self.tell(text or "")

        return call


def sentence(error: StudyError | OSError) -> str:
    """An error's message as a sentence."""
    text = str(error)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def row(*children: ipywidgets.Widget) -> ipywidgets.Box:
    """Widgets next to each other, wrapped if the page is narrow."""
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start", gap="4px 16px")
    return ipywidgets.Box(children, layout=layout)


def labelled(kind: type[C], label: str, width: str = "31em", **traits: Any) -> C:
    """An ipywidget with its label before it; all labels are equally wide."""
    layout = ipywidgets.Layout(width=width, max_width="98%")
    return kind(description=label, style={"description_width": "9.5em"}, layout=layout, **traits)


def dropdown(label: str, options: Sequence[Any], width: str = "31em") -> ipywidgets.Dropdown:
    """A choice of one of (text, value)."""
    return labelled(ipywidgets.Dropdown, label, width, options=options)


def several(label: str, options: Sequence[Any]) -> ipywidgets.SelectMultiple:
    """A choice of several, initially all."""
    rows = min(6, max(2, len(options)))
    return labelled(ipywidgets.SelectMultiple, label, options=options, value=tuple(options), rows=rows)


def whole_number(label: str, value: int, low: int, high: int) -> ipywidgets.BoundedIntText:
    """A whole number within bounds."""
    return labelled(ipywidgets.BoundedIntText, label, "18em", value=value, min=low, max=high)


def checkbox(label: str, value: bool = False) -> ipywidgets.Checkbox:
    """A tick box."""
    return ipywidgets.Checkbox(description=label, value=value, indent=False, layout=ipywidgets.Layout(width="auto"))


def button(label: str, kind: type[C] = ipywidgets.Button, **traits: Any) -> C:
    """A button as wide as its label."""
    layout = ipywidgets.Layout(width="auto", align_self="flex-start")
    return kind(description=label, layout=layout, **traits)


def markup(height: str = "", width: str = "auto") -> ipywidgets.HTML:
    """A place for HTML with a minimum height, so that nothing below it jumps."""
    return ipywidgets.HTML(layout=ipywidgets.Layout(min_height=height, width=width))


def blank(*places: ipywidgets.Widget) -> None:
    """Empty galleries and places for HTML."""
    for place in places:
        if isinstance(place, Gallery):
            place.cards = []
        else:
            place.value = ""
