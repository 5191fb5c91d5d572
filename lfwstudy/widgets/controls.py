"""The controls of the explorers: labelled, usable by keyboard, and read aloud by screen readers."""

from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from lfwstudy.errors import StudyError

HERE = Path(__file__).parent
STYLE = HERE / "style.css"
_WIDTH = ipywidgets.Layout(width="31em", max_width="98%")
_LABEL = {"description_width": "9.5em"}
# In words, not by colour alone.
MARKS = {"correct": "✓ correct", "incorrect": "✗ incorrect", "same": "✓ same person"}


def synced_list() -> "traitlets.List[Any]":
    """A list shared with the browser."""
    return traitlets.List().tag(sync=True)


class Slider(anywidget.AnyWidget):
    """A native range input: unlike ipywidgets' slider, it has a name for screen readers."""

    _esm, _css = HERE / "slider.js", STYLE
    label = traitlets.Unicode().tag(sync=True)
    value = traitlets.Float().tag(sync=True)
    min = traitlets.Float(0.0).tag(sync=True)
    max = traitlets.Float(1.0).tag(sync=True)
    step = traitlets.Float(0.01).tag(sync=True)
    digits = traitlets.Int(2).tag(sync=True)


class Table(anywidget.AnyWidget):
    """A table that can be sorted by its headings and filtered by words, in the browser.

    rows: lists of texts, numbers and None; digits: of each column's numbers.
    """

    _esm, _css = HERE / "table.js", STYLE
    caption = traitlets.Unicode().tag(sync=True)
    columns = synced_list()
    rows = synced_list()
    digits = synced_list()
    sort = traitlets.Unicode().tag(sync=True)
    descending = traitlets.Bool(False).tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)


class Gallery(anywidget.AnyWidget):
    """Cards of images with a text, made by `card`; with `opens` they are buttons, and `chosen` is the key of the last pressed.

    Room is reserved for `slots` cards of `across` images and `lines` of text, so that nothing jumps.
    """

    _esm, _css = HERE / "gallery.js", STYLE
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

    _esm, _css = HERE / "box.js", STYLE
    label = traitlets.Unicode().tag(sync=True)
    image = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    height = traitlets.Int(0).tag(sync=True)
    box = synced_list()


class Message(ipywidgets.HTML):
    """A status line; screen readers announce its changes."""

    def __init__(self, text: str = "", height: str = "1.6em") -> None:
        super().__init__(layout=ipywidgets.Layout(min_height=height, width="100%"))
        if text:
            self.tell(text)

    def tell(self, text: str) -> None:
        """Show a sentence in place of the previous one."""
        self.value = f'<p class="lfw-message" role="status" aria-live="polite">{escape(text)}</p>'

    def guard(self, function: Callable[[], str | None]) -> Callable[..., None]:
        """`function` as a widget's callback: shows the text it returns, or the user's error it raises."""

        @wraps(function)
        def call(*_: object) -> None:
            try:
                text = function()
            except (StudyError, OSError) as error:
                text = sentence(error)
            self.tell(text or "")

        return call


def sentence(error: StudyError | OSError) -> str:
    """An error's message as a sentence."""
    text = f"{error.filename or ''}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def row(*children: ipywidgets.Widget) -> ipywidgets.Box:
    """Widgets next to each other, wrapped if the page is narrow."""
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start", gap="4px 16px")
    return ipywidgets.Box(children, layout=layout)


def dropdown(label: str, options: Sequence[Any]) -> ipywidgets.Dropdown:
    """A choice of one of (text, value)."""
    return ipywidgets.Dropdown(description=label, options=options, style=_LABEL, layout=_WIDTH)


def several(label: str, options: Sequence[str]) -> ipywidgets.SelectMultiple:
    """A choice of several, initially all."""
    rows = min(6, max(2, len(options)))
    return ipywidgets.SelectMultiple(
        description=label, options=options, value=tuple(options), rows=rows, style=_LABEL, layout=_WIDTH
    )


def text_field(label: str, placeholder: str = "") -> ipywidgets.Text:
    """A line of text."""
    return ipywidgets.Text(description=label, placeholder=placeholder, style=_LABEL, layout=_WIDTH)


def whole_number(label: str, value: int, low: int, high: int) -> ipywidgets.BoundedIntText:
    """A whole number within bounds."""
    layout = ipywidgets.Layout(width="18em")
    return ipywidgets.BoundedIntText(description=label, value=value, min=low, max=high, style=_LABEL, layout=layout)


def checkbox(label: str) -> ipywidgets.Checkbox:
    """A tick box."""
    return ipywidgets.Checkbox(description=label, indent=False, layout=ipywidgets.Layout(width="auto"))


def button(label: str, **more: Any) -> ipywidgets.Button:
    """A button as wide as its label."""
    layout = ipywidgets.Layout(width="auto", align_self="flex-start")
    return ipywidgets.Button(description=label, layout=layout, **more)


def markup(height: str = "", width: str = "100%") -> ipywidgets.HTML:
    """A place for HTML with a minimum height, so that nothing below it jumps."""
    return ipywidgets.HTML(layout=ipywidgets.Layout(min_height=height, width=width))
