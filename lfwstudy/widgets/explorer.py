"""The base of all explorers: rows of named controls, messages for missing data, and a still for pages without a kernel."""

from collections.abc import Callable, Sized
from html import escape
from types import SimpleNamespace
from typing import Any, TypeVar

import anywidget
import ipywidgets

from lfwstudy.errors import RunError, StudyError
from lfwstudy.report.figures import faces
from lfwstudy.report.table import Column, Table
from lfwstudy.report.wording import plain
from lfwstudy.study.study import Study
from lfwstudy.widgets.controls import HERE, MARKS, Gallery, Message, Slider, SortableTable, Step, sentence

Found = TypeVar("Found", bound=Sized)
_CHOICES = (Slider, ipywidgets.SelectMultiple, ipywidgets.Dropdown, ipywidgets.Checkbox, ipywidgets.BoundedIntText)


class Explorer(ipywidgets.VBox):
    """A study's controls by name in `parts`, in rows below each other; a sentence if the study lacks something it needs."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self.add_class("lfw-explorer")
        self.parts = SimpleNamespace(message=Message())
        try:
            rows = self.build(study)
        except (StudyError, OSError) as error:
            self.parts.message.tell(sentence(error))
            rows = [self.parts.message]
        self.children = (*rows, _Keys(layout=ipywidgets.Layout(display="none")))

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        """Make the parts and return the rows."""
        raise NotImplementedError

    def add(self, **parts: ipywidgets.Widget) -> SimpleNamespace:
        """Add parts; returns all of them."""
        vars(self.parts).update(parts)
        return self.parts

    def watch(
        self, function: Step, *controls: ipywidgets.Widget, trait: str = "value", message: Message | None = None
    ) -> Callable[..., None]:
        """Call a function when a control changes, or a button is pressed; a message shows its result or error."""
        call = (message or self.parts.message).guard(function)
        for control in controls:
            if isinstance(control, ipywidgets.Button):
                control.on_click(call)
            else:
                control.observe(call, trait)
        return call

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget, and its content as plain HTML for pages without a kernel."""
        return {**super()._repr_mimebundle_(**options), "text/html": still(self)}


class _Keys(anywidget.AnyWidget):
    """Invisible: keeps keys pressed in an explorer for its controls."""

    _esm = HERE / "keys.js"


def require(found: Found, text: str) -> Found:
    """Raise RunError with `text` unless something is found."""
    if not len(found):
        raise RunError(text)
    return found


def still(widget: ipywidgets.Widget) -> str:
    """A widget's content as HTML."""
    if isinstance(widget, ipywidgets.HTML):
        return widget.value
    if isinstance(widget, Gallery):
        return _gallery(widget)
    if isinstance(widget, SortableTable):
        rows = [dict(zip(widget.columns, row)) for row in widget.rows]
        return Table([Column(name) for name in widget.columns], rows).to_html()
    if isinstance(widget, ipywidgets.Box):
        chosen = "; ".join(_choice(child) for child in widget.children if isinstance(child, _CHOICES))
        return (f"<p>{escape(chosen)}.</p>" if chosen else "") + "".join(map(still, widget.children))
    return ""


def _choice(control: ipywidgets.Widget) -> str:
    """A control's name and value."""
    value = getattr(control, "label", control.value)
    return f"{control.description}: {', '.join(value) if isinstance(value, tuple) else plain(value)}"


def _gallery(gallery: Gallery) -> str:
    if not gallery.cards:
        return ""
    title = f"<p>{escape(gallery.label)}</p>" if gallery.label else ""
    return f"<figure>{title}{faces.in_row(''.join(_card(card, gallery.size) for card in gallery.cards))}</figure>"


def _card(card: dict[str, Any], size: int) -> str:
    words = escape(card["text"]).replace("\n", "<br>") + (f"<br>{MARKS[card['mark']]}" if card["mark"] else "")
    return faces.card([(image["alt"], image["src"]) for image in card["images"]], words, size)
