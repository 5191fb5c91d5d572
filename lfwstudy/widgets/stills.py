"""An explorer as HTML without a kernel: its choices in words, its figures, tables and images."""

from html import escape
from typing import Any

import ipywidgets

from lfwstudy.widgets.controls import MARKS, Gallery, Slider, Table


def still(widget: ipywidgets.Widget) -> str:
    """A widget's content as HTML."""
    if isinstance(widget, ipywidgets.HTML):
        return widget.value
    if isinstance(widget, Gallery):
        return _gallery(widget)
    if isinstance(widget, Table):
        return _table(widget)
    if isinstance(widget, ipywidgets.Box):
        chosen = "; ".join(filter(None, map(_choice, widget.children)))
        return (f"<p>{escape(chosen)}.</p>" if chosen else "") + "".join(map(still, widget.children))
    return ""


def _choice(widget: ipywidgets.Widget) -> str:
    """A control's name and value; "" for other widgets."""
    if isinstance(widget, Slider):
        return f"{widget.label}: {widget.value:.{widget.digits}f}"
    if isinstance(widget, ipywidgets.SelectMultiple):
        return f"{widget.description}: {', '.join(map(str, widget.label))}"
    if isinstance(widget, ipywidgets.Dropdown):
        return f"{widget.description}: {widget.label}"
    if isinstance(widget, ipywidgets.Checkbox):
        return f"{widget.description}: {'yes' if widget.value else 'no'}"
    return f"{widget.description}: {widget.value}" if isinstance(widget, ipywidgets.BoundedIntText) else ""


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = ("".join(f"<td>{_cell(v, n)}</td>" for v, n in zip(line, table.digits)) for line in table.rows)
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return (
        '<figure><div class="scroll" tabindex="0" role="region" aria-label="Table"><table class="study">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></figure>"
    )


def _cell(value: str | float | None, digits: int) -> str:
    return "" if value is None else escape(value) if isinstance(value, str) else f"{value:,.{digits}f}"


def _gallery(gallery: Gallery) -> str:
    if not gallery.cards:
        return ""
    title = f"<p>{escape(gallery.label)}</p>" if gallery.label else ""
    cards = "".join(_card(card, gallery.size) for card in gallery.cards)
    return f'<figure>{title}<div style="display:flex;flex-wrap:wrap;gap:10px 14px">{cards}</div></figure>'


def _card(card: dict[str, Any], size: int) -> str:
    images = "".join(
        f'<img alt="{escape(image["alt"])}" width="{size}" height="{size}" src="{image["src"]}">'
        for image in card["images"]
    )
    words = escape(card["text"]).replace("\n", "<br>") + (f"<br>{MARKS[card['mark']]}" if card["mark"] else "")
    return f'<div style="font-size:12px;line-height:1.35"><div style="display:flex;gap:2px">{images}</div>{words}</div>'
