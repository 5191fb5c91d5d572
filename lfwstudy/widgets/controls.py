"""What explorers are built of: labelled native controls, galleries, messages, and the guard around what may be missing."""

import functools
import html
from pathlib import Path
from types import SimpleNamespace

import anywidget
import ipywidgets
import traitlets

from lfwstudy.errors import RunError, StudyError

_HERE = Path(__file__).parent
_STYLE = _HERE / "style.css"
# Said in words, not by colour alone; gallery.js says the same.
MARKS = {"right": "✓ right", "wrong": "✗ wrong"}
_WIDE = {"description_width": "9.5em"}


class Slider(anywidget.AnyWidget):
    """A native range input: unlike ipywidgets' slider it has a name that a screen reader says."""

    _esm, _css = _HERE / "slider.js", _STYLE
    label = traitlets.Unicode().tag(sync=True)
    value = traitlets.Float().tag(sync=True)
    min = traitlets.Float(0.0).tag(sync=True)
    max = traitlets.Float(1.0).tag(sync=True)
    step = traitlets.Float(0.01).tag(sync=True)
    digits = traitlets.Int(2).tag(sync=True)


class Table(anywidget.AnyWidget):
    """A table that sorts by a click on a heading and filters by words, in the browser.

    rows: lists of texts and numbers; digits: how many each column's numbers are shown with.
    """

    _esm, _css = _HERE / "table.js", _STYLE
    caption = traitlets.Unicode().tag(sync=True)
    columns = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    digits = traitlets.List().tag(sync=True)
    sort = traitlets.Unicode().tag(sync=True)
    descending = traitlets.Bool(False).tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)


class Gallery(anywidget.AnyWidget):
    """Cards of pictures with a text; room is kept for `slots` cards of `across` pictures and `lines`, so that nothing jumps.

    cards: dicts with key, pictures (list of {src, alt}), text and mark ("right", "wrong" or ""). Where `opens` is set
    cards are buttons, and `chosen` is the key of the one that was pressed last.
    """

    _esm, _css = _HERE / "gallery.js", _STYLE
    label = traitlets.Unicode().tag(sync=True)
    cards = traitlets.List().tag(sync=True)
    slots = traitlets.Int(0).tag(sync=True)
    across = traitlets.Int(2).tag(sync=True)
    lines = traitlets.Int(3).tag(sync=True)
    size = traitlets.Int(72).tag(sync=True)
    empty = traitlets.Unicode("none").tag(sync=True)
    opens = traitlets.Bool(False).tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)


class BoxPicker(anywidget.AnyWidget):
    """A picture with a box drawn by pointer or keys. box: left, top, right, bottom in the picture's pixels, or empty."""

    _esm, _css = _HERE / "box.js", _STYLE
    label = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    height = traitlets.Int(0).tag(sync=True)
    box = traitlets.List().tag(sync=True)


class Explorer(ipywidgets.VBox):
    """A box that also says in plain HTML what it shows when it is displayed: for pages that have no kernel."""

    def _repr_mimebundle_(self, **options):
        return {**super()._repr_mimebundle_(**options), "text/html": still(self)}


def still(widget):
    """What a widget shows as HTML that needs no kernel: its choices in words, its figures, tables and pictures."""
    if isinstance(widget, ipywidgets.HTML):
        return widget.value
    if isinstance(widget, Gallery):
        return _still_gallery(widget)
    if isinstance(widget, Table):
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in widget.columns)
        lines = "".join(
            "<tr>" + "".join(f"<td>{_still_cell(v, n)}</td>" for v, n in zip(line, widget.digits)) + "</tr>"
            for line in widget.rows
        )
        return (
            f'<figure><div class="scroll" tabindex="0" role="region" aria-label="Table"><table class="study"><thead><tr>{head}'
            f"</tr></thead><tbody>{lines}</tbody></table></div></figure>"
        )
    if isinstance(widget, ipywidgets.Box):
        chosen = [words for words in map(_chosen, widget.children) if words]
        return (f"<p>{html.escape('; '.join(chosen))}.</p>" if chosen else "") + "".join(map(still, widget.children))
    return ""


def _still_cell(value, digits):
    return "" if value is None else html.escape(value) if isinstance(value, str) else f"{value:,.{digits}f}"


def _chosen(widget):
    """A control's name and what it is set to."""
    name = getattr(widget, "label" if isinstance(widget, Slider) else "description", "")
    if isinstance(widget, ipywidgets.SelectMultiple):
        return f"{name}: {', '.join(map(str, widget.label))}"
    if isinstance(widget, ipywidgets.Dropdown):
        return f"{name}: {widget.label}"
    if isinstance(widget, Slider):
        return f"{name}: {widget.value:.{widget.digits}f}"
    if isinstance(widget, ipywidgets.Checkbox):
        return f"{name}: {'yes' if widget.value else 'no'}"
    return f"{name}: {widget.value}" if isinstance(widget, ipywidgets.BoundedIntText) else ""


def _still_gallery(gallery):
    def card(item):
        pictures = "".join(
            f'<img alt="{html.escape(p["alt"])}" width="{gallery.size}" height="{gallery.size}" src="{p["src"]}">'
            for p in item["pictures"]
        )
        words = html.escape(item["text"]).replace("\n", "<br>") + (f"<br>{MARKS[item['mark']]}" if item["mark"] else "")
        return f'<div style="font-size:12px;line-height:1.35"><div style="display:flex;gap:2px">{pictures}</div>{words}</div>'

    if not gallery.cards:
        return ""
    title = f"<p>{html.escape(gallery.label)}</p>" if gallery.label else ""
    return (
        f'<figure>{title}<div style="display:flex;flex-wrap:wrap;gap:10px 14px">{"".join(map(card, gallery.cards))}</div>'
        "</figure>"
    )


class _Keys(anywidget.AnyWidget):
    """Nothing to see: leaves the keys pressed in an explorer to its controls."""

    _esm = _HERE / "keys.js"


def panel(*children, **parts):
    """An explorer: its children below each other, the named ones in `.parts`."""
    box = Explorer([*children, _Keys(layout=ipywidgets.Layout(display="none"))])
    box.add_class("lfw-explorer")
    box.parts = SimpleNamespace(**parts)
    return box


def row(*children):
    """Widgets beside each other, in several lines where the page is narrow."""
    return ipywidgets.Box(
        children, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start", gap="4px 16px")
    )


def dropdown(label, options, **more):
    """A labelled choice of one. options: list of (text, value)."""
    return ipywidgets.Dropdown(
        description=label, options=options, style=_WIDE, layout=ipywidgets.Layout(width="31em", max_width="98%"), **more
    )


def several(label, options):
    """A labelled choice of several, all of them at first."""
    return ipywidgets.SelectMultiple(
        description=label,
        options=options,
        value=tuple(options),
        style=_WIDE,
        rows=min(6, max(2, len(options))),
        layout=ipywidgets.Layout(width="31em", max_width="98%"),
    )


def text_field(label, placeholder=""):
    """A labelled line of text."""
    return ipywidgets.Text(
        description=label,
        placeholder=placeholder,
        style=_WIDE,
        layout=ipywidgets.Layout(width="31em", max_width="98%"),
        continuous_update=True,
    )


def whole_number(label, value, low, high):
    """A labelled whole number."""
    return ipywidgets.BoundedIntText(
        description=label, value=value, min=low, max=high, style=_WIDE, layout=ipywidgets.Layout(width="18em")
    )


def checkbox(label, value=False):
    """A labelled tick box."""
    return ipywidgets.Checkbox(description=label, value=value, indent=False, layout=ipywidgets.Layout(width="auto"))


def button(label, **more):
    """A button as wide as its label."""
    return ipywidgets.Button(description=label, layout=ipywidgets.Layout(width="auto", align_self="flex-start"), **more)


def markup(height="", width="100%"):
    """A place for HTML that keeps a height, so that nothing below it jumps."""
    return ipywidgets.HTML(layout=ipywidgets.Layout(min_height=height, width=width))


def message():
    """A line that tells what is missing or going on; screen readers hear it change."""
    return markup("1.6em")


def tell(place, text):
    """Write a sentence into a `message`."""
    place.value = f'<p class="lfw-message" role="status" aria-live="polite">{html.escape(text)}</p>'


def sentence(error):
    """What an error says, as a sentence."""
    text = (
        str(error) if isinstance(error, StudyError) else f"{getattr(error, 'filename', '')}: {error.strerror or error}"
    )
    return text if text.endswith((".", "!", "?")) else f"{text}."


def guarded(place, function):
    """`function` with its errors told in `place`; what it returns is lost, for it is called by a widget."""

    @functools.wraps(function)
    def call(*_):
        try:
            told = function()
        except (StudyError, OSError) as error:
            told = sentence(error)
        tell(place, told or "")

    return call


def explorer(build):
    """A function from a study to a widget that shows a sentence instead where the study lacks what it needs."""

    @functools.wraps(build)
    def call(study, *arguments, **options):
        try:
            return build(study, *arguments, **options)
        except (StudyError, OSError) as error:
            told = message()
            tell(told, sentence(error))
            return panel(told, message=told)

    return call


def when_changed(function, *widgets):
    """Call `function` whenever one of the widgets' value changes."""
    for widget in widgets:
        widget.observe(function, "value")


def require(found, text):
    """Raise RunError with `text` unless something is found."""
    if not len(found):
        raise RunError(text)
    return found
