"""Sanitise HTML of executed notebooks, which may come from others: only elements of tables, figures and stills pass."""

import re

import nh3


def _words(text: str) -> set[str]:
    return set(text.split())


_HTML = _words(
    "a b blockquote br caption code div em figcaption figure h1 h2 h3 h4 hr i img li ol p pre span strong sub sup "
    "table tbody td th thead tr ul"
)
_SVG = _words("circle clipPath defs g image line path polyline rect svg text title use")
_ATTRIBUTES = {
    "*": {"aria-hidden", "aria-label", "aria-live", "class", "id", "role", "style"},
    "a": {"href"},
    "img": {"alt", "height", "src", "width"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_DRAWING = _words(
    "clip-path cx cy d fill fill-opacity height points r stroke stroke-dasharray stroke-linejoin stroke-opacity "
    "stroke-width text-anchor transform version viewBox width x x1 x2 href xmlns y y1 y2"
)
_STYLES = _words(
    "background color display fill fill-opacity flex-wrap font font-size gap line-height margin max-width padding "
    "stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-opacity stroke-width "
    "text-align text-anchor white-space width"
)
# Nothing is loaded from elsewhere: images are inline, and a drawing refers only to its own parts.
_INLINE = r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]*"
_VALUES = {
    ("img", "src"): _INLINE,
    ("image", "href"): _INLINE,
    ("use", "href"): r"#[\w-]+",
    ("a", "href"): r"#.*|https?://.*",
    "clip-path": r"url\(#[\w-]+\)",
    "style": r"(rgb\([\d ,.]*\)|[^\\(])*",
}


def sanitised(fragment: str) -> str:
    """An HTML fragment without anything that acts, loads, hides or covers the page; the text of removed elements stays."""
    return nh3.clean(
        fragment,
        tags=_HTML | _SVG,
        attributes={**_ATTRIBUTES, **dict.fromkeys(_SVG, _DRAWING)},
        url_schemes={"data", "http", "https"},
        filter_style_properties=_STYLES,
        attribute_filter=_kept,
        clean_content_tags={"script", "style", "iframe", "object", "embed", "noscript", "template", "textarea"},
        link_rel=None,
    )


def _kept(tag: str, name: str, value: str) -> str | None:
    form = _VALUES.get((tag, name)) or _VALUES.get(name)  # xlink:href arrives as href
    return value if form is None or re.fullmatch(form, value, re.DOTALL) else None
