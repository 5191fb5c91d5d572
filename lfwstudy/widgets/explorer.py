"""The base of all explorers: rows of named controls, messages for missing data, and a still for pages without a kernel."""

from collections.abc import Callable, Sized
from functools import wraps
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import anywidget
import ipywidgets

from lfwstudy.errors import RunError, StudyError
from lfwstudy.widgets.controls import HERE, Message, sentence
from lfwstudy.widgets.stills import still

P = ParamSpec("P")
Found = TypeVar("Found", bound=Sized)


class Explorer(ipywidgets.VBox):
    """Controls by name in `parts`, among them a `message`; rows of them below each other."""

    def __init__(self, **parts: ipywidgets.Widget) -> None:
        super().__init__()
        self.add_class("lfw-explorer")
        self.parts = SimpleNamespace(message=Message(), **parts)

    def arrange(self, *rows: ipywidgets.Widget) -> None:
        """Show rows below each other."""
        self.children = (*rows, _Keys(layout=ipywidgets.Layout(display="none")))

    def watch(self, function: Callable[[], str | None], *controls: ipywidgets.Widget, trait: str = "value") -> None:
        """Call a function whenever a control changes; the message shows its result or error."""
        call = self.parts.message.guard(function)
        for control in controls:
            control.observe(call, trait)

    def follow(self, function: Callable[[], str | None], *controls: ipywidgets.Widget, trait: str = "value") -> None:
        """`watch`, and call it now."""
        self.watch(function, *controls, trait=trait)
        self.parts.message.guard(function)()

    def press(self, button: ipywidgets.Button, function: Callable[[], str | None]) -> None:
        """Call a function when a button is pressed, with the same messages."""
        button.on_click(self.parts.message.guard(function))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget, and its content as plain HTML for pages without a kernel."""
        return {**super()._repr_mimebundle_(**options), "text/html": still(self)}


class _Keys(anywidget.AnyWidget):
    """Invisible: keeps keys pressed in an explorer for its controls."""

    _esm = HERE / "keys.js"


def explorer(build: Callable[P, Explorer]) -> Callable[P, Explorer]:
    """Decorate an explorer's function to show a sentence if the study lacks something it needs."""

    @wraps(build)
    def call(*arguments: P.args, **options: P.kwargs) -> Explorer:
        try:
            return build(*arguments, **options)
        except (StudyError, OSError) as error:
            empty = Explorer()
            empty.parts.message.tell(sentence(error))
            empty.arrange(empty.parts.message)
            return empty

    return call


def require(found: Found, text: str) -> Found:
    """Raise RunError with `text` unless something is found."""
    if not len(found):
        raise RunError(text)
    return found
