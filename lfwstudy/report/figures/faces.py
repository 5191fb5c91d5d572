"""Images of faces, alone and in pairs, as HTML that also fits a phone."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from IPython.display import HTML
from matplotlib.colors import to_hex
from PIL import Image

from lfwstudy.report.figures import style
from lfwstudy.report.table import framed


def montage(images: Iterable[np.ndarray], caption: str, source: str) -> HTML:
    """Images in a grid. images: uint8 (n, side, side)."""
    return _framed(_grid(images), caption, source, "Images of the set")


def augmented(rows: Iterable[tuple[str, Iterable[np.ndarray]]], caption: str, source: str) -> HTML:
    """Images, and augmented copies of each below it. rows: a title and images (n, side, side), as for `image_uri`."""
    shown = "".join(f"<h3>{html.escape(title)}</h3>{_grid(images)}" for title, images in rows)
    return _framed(shown, caption, source, "Images and their augmented copies")


def batch(pairs: Iterable[tuple[np.ndarray, np.ndarray, float]], caption: str, source: str) -> HTML:
    """Pairs of images with their training targets. pairs: left and right image (side, side), target."""
    cards = "".join(_pair(left, right, f"target {target:g}") for left, right, target in pairs)
    return _framed(in_row(cards), caption, source, "Pairs of a batch")


def gallery(
    groups: Iterable[tuple[str, Sequence[tuple[np.ndarray, np.ndarray, float, str]]]] | str, caption: str, source: str
) -> HTML:
    """Pairs of images with their scores, a row of cards for each group.

    groups: a title and its pairs, each left and right image, uint8 (side, side), P(same) and a line of text; or a sentence
    that says why there are none.
    """
    if isinstance(groups, str):
        return HTML(f"<p>{html.escape(groups)}</p>")
    rows = "".join(
        f"<h3>{html.escape(title)}</h3>{in_row(''.join(_scored_card(*pair) for pair in pairs) or 'none')}"
        for title, pairs in groups
    )
    return _framed(rows, caption, source, "Pairs with their scores")


def image_uri(image: np.ndarray) -> str:
    """An image, uint8 (height, width) or (height, width, 3), or float in [0, 1], as a data URI: a JPEG without visible loss."""
    if np.asarray(image).dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=95)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def in_row(cards: str) -> str:
    """Cards next to each other, wrapped if the page is narrow."""
    return f'<div class="cards" style="display:flex;flex-wrap:wrap;gap:10px 14px">{cards}</div>'


def card(images: Sequence[tuple[str, str]], below: str, size: int = 76) -> str:
    """Images, each with its text for screen readers and its data URI, next to each other above HTML."""
    shown = "".join(f'<img alt="{html.escape(alt)}" width="{size}" height="{size}" src="{uri}">' for alt, uri in images)
    width = max(154, len(images) * (size + 2) - 2)
    return (
        f'<div class="card" style="width:{width}px;font-size:12px;line-height:1.35">'
        f'<div style="display:flex;gap:2px">{shown}</div>{below}</div>'
    )


def _grid(images: Iterable[np.ndarray]) -> str:
    cells = "".join(f'<img alt="" width="64" height="64" src="{image_uri(image)}">' for image in images)
    return f'<div class="faces" style="display:flex;flex-wrap:wrap;gap:4px">{cells}</div>'


def _scored_card(left: np.ndarray, right: np.ndarray, score: float, text: str) -> str:
    """A pair, its score as a bar from 0 to 1 with a tick at the threshold, and the score in figures."""
    bar = (
        '<svg width="154" height="8" viewBox="0 0 154 8" aria-hidden="true" style="display:block;margin:3px 0 1px"><rect width="154" height="8" '
        f'fill="#999999" fill-opacity=".3"/><rect width="{154 * score:.0f}" height="8" fill="{to_hex(style.MEASURED)}"/>'
        '<path d="M77 0V8" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
    return _pair(left, right, f"{bar}P(same) {score:.2f}<br>{html.escape(text)}")


def _pair(left: np.ndarray, right: np.ndarray, below: str) -> str:
    return card([("left image", image_uri(left)), ("right image", image_uri(right))], below)


def _framed(content: str, caption: str, source: str, label: str) -> HTML:
    return HTML(framed(content, html.escape(f"{caption} {source[0].upper()}{source[1:]}."), label))
