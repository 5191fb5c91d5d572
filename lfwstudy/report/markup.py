"""What makes a page of an executed notebook's HTML: sanitised, with ids, names, links, a folded appendix, each image once.

Notebooks may come from others: only elements of tables, figures and stills pass.
"""

import os
import re
from collections import Counter

import nh3
from bs4 import BeautifulSoup, Tag


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
# An image as `sanitised` writes it.
_IMAGE = re.compile(
    r'<img alt="(?P<alt>[^"]*)" height="(?P<height>\d+)" src="(?P<src>data:[^"]+)" width="(?P<width>\d+)"/>'
)


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


def finish(soup: BeautifulSoup, anchor: str, title: str) -> list[tuple[str, str]]:
    """Make a page's HTML ready for a report; returns the ids and texts of its second-level headings.

    Headings get ids that end with the page's `anchor`, and links to themselves; regions get names; home folders are
    removed; commands break at spaces only; the appendix is folded.
    """
    for text in soup.find_all(string=True):
        text.replace_with(homeless(text))
    for image in soup.find_all("img"):
        if not str(image.get("src", "")).startswith("data:"):
            image.decompose()  # nothing is loaded from elsewhere
    for cell in soup.select("div[id]"):
        del cell["id"]  # every notebook counts its cells from 1
    for number, heading in enumerate(soup.find_all(["h1", "h2", "h3"])):
        heading["id"] = f"{number}-{anchor}"  # no anchor begins with a number: stages may be called a and a-1
    for command in soup.select(":not(pre) > code"):
        _keep_words_whole(soup, command)
    _name_regions(soup, title)
    _fold_appendix(soup)
    found = [(str(heading["id"]), heading.get_text()) for heading in soup.find_all("h2")]
    for heading in soup.select(":is(h1, h2, h3):not(figure *)"):
        # The keyboard takes the contents' links.
        link = {"class": "anchor", "href": f"#{heading['id']}", "aria-label": f"Link to {heading.get_text()}"}
        heading.append(soup.new_tag("a", attrs={**link, "tabindex": "-1"}, string="#"))
    return found


def with_each_image_once(page: str) -> str:
    """A page that holds an image shown several times once, below `main`, and refers to it; without a script SVG can."""
    counts = Counter(found["src"] for found in _IMAGE.finditer(page))
    numbers = {src: number for number, src in enumerate(src for src, count in counts.items() if count > 1)}

    def shown(found: re.Match[str]) -> str:
        if found["src"] not in numbers:
            return found[0]
        name = f'role="img" aria-label="{found["alt"]}"' if found["alt"] else 'aria-hidden="true"'
        size = f'width="{found["width"]}" height="{found["height"]}" viewBox="0 0 1 1"'
        return f'<svg class="image" {name} {size}><use href="#image-{numbers[found["src"]]}"/></svg>'

    kept = "".join(
        f'<image id="image-{number}" width="1" height="1" preserveAspectRatio="none" href="{src}"/>'
        for src, number in numbers.items()
    )
    drawer = f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{kept}</defs></svg>'
    return _IMAGE.sub(shown, page).replace("</main>", f"</main>{drawer}" if kept else "</main>", 1)


def homeless(text: str) -> str:
    """A text without the user's home folder in its paths: reports are passed on."""
    home = os.path.expanduser("~").rstrip("/")
    return re.sub(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])", "~", text) if home else text


def _keep_words_whole(soup: BeautifulSoup, command: Tag) -> None:
    """Let a command break at its spaces only: a browser also breaks lines after the hyphens of its options."""
    first, *others = command.get_text().split(" ")
    command.clear()
    for separator, word in [("", first), *((" ", word) for word in others)]:
        command.extend([separator, soup.new_tag("span", attrs={"class": "word"}, string=word)])


def _name_regions(soup: BeautifulSoup, title: str) -> None:
    """Give figures and tables names of their own, so that a list tells them apart, and a hint where they scroll."""
    for number, region in enumerate(soup.select("figure > .scroll"), 1):
        heading = region.find_previous(["h1", "h2", "h3"])
        name = heading.get_text() if heading else ""
        region["aria-label"] = f"{region.get('aria-label', 'Figure')} {number} of {title}: {name}"
        for drawn in region.find_all("svg", recursive=False):
            drawn["aria-label"] = f"{name}: {drawn.get('aria-label', '')}"
        # The style sheet shows it only where the region scrolls; there the keyboard stops at it.
        region.insert(0, soup.new_tag("p", attrs={"class": "hint", "tabindex": "0"}, string="scrolls sideways"))


def _fold_appendix(soup: BeautifulSoup) -> None:
    """Put what follows the heading "Appendix" into a part that the reader unfolds, named by its headings."""
    title = soup.find("h2", string="Appendix")
    top = next((tag for tag in (title, *title.parents) if tag.parent is soup), None) if title else None
    if top is None:
        return
    folded, names = soup.new_tag("details"), soup.new_tag("summary")
    folded.extend(list(top.next_siblings))
    names.string = " · ".join(tag.get_text() for tag in folded.select("h3:not(figure *)"))
    folded.insert(0, names)
    top.insert_after(folded)


def _kept(tag: str, name: str, value: str) -> str | None:
    form = _VALUES.get((tag, name)) or _VALUES.get(name)  # xlink:href arrives as href
    return value if form is None or re.fullmatch(form, value, re.DOTALL) else None
