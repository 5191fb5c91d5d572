"""The pair browser: filter and sort scored pairs; open one with its people's other images and nearest neighbours."""

from functools import cache, lru_cache
from html import escape
from typing import Any

import numpy as np

from lfwstudy.data.pairs import person_of
from lfwstudy.errors import StudyError
from lfwstudy.study.study import Study
from lfwstudy.verify.network import Network, load_run
from lfwstudy.verify.verifier import THRESHOLD
from lfwstudy.widgets.controls import Gallery, Slider, button, card, dropdown, markup, row, text_field
from lfwstudy.widgets.explorer import Explorer, explorer
from lfwstudy.widgets.finished_runs import SETS, Images, ScoredPairs, run_options, scored_pairs, spoken

_KINDS = (("matched and mismatched", ""), ("matched (one person)", "1"), ("mismatched (two people)", "0"))
_OUTCOMES = (("correctly or incorrectly", ""), ("incorrectly", "incorrect"), ("correctly", "correct"))
_ORDERS = (
    ("most wrong first", "wrong"),
    ("most confident and correct first", "right"),
    ("least confident first", "unsure"),
    ("order of the pair file", "line"),
)
_NEIGHBOURS = 6
_OTHERS = 12


@explorer
def browse_pairs(study: Study) -> Explorer:
    """Scored pairs with their images, filtered and sorted; an opened pair with its people and nearest neighbours."""
    return PairBrowser(study)


class PairBrowser(Explorer):
    """A PairChooser, with details of the opened pair."""

    def __init__(self, study: Study) -> None:
        self.chooser = PairChooser(study)
        self.neighbours = lru_cache(maxsize=2)(Neighbours)
        kinds = ("own", "other images of this person", 2), ("near", "nearest in the embedding", 4)
        galleries = {
            f"{side}_{kind}": Gallery(label=f"{side.capitalize()}: {label}", across=1, lines=lines, size=64, slots=6)
            for kind, label, lines in kinds
            for side in ("left", "right")
        }
        opened = Gallery(label="Opened pair", slots=1, size=150, empty="Choose a pair above.")
        super().__init__(opened=opened, facts=markup("5em"), **galleries)
        p = self.parts
        self.arrange(self.chooser, p.opened, p.facts, p.message, *galleries.values())
        self.follow(self.show_pair, self.chooser.parts.gallery, trait="chosen")

    def show_pair(self) -> str:
        """Show the chosen pair, then look for its neighbours."""
        p, opened = self.parts, self.chooser.opened()
        sides = (p.left_own, p.left_near), (p.right_own, p.right_near)
        if opened is None:
            p.facts.value, p.opened.cards = "", []
            for gallery in (*sides[0], *sides[1]):
                gallery.cards, gallery.empty = [], "–"
            return ""
        scored, at, images = opened
        names = scored.left[at], scored.right[at]
        p.opened.cards, p.facts.value = [pair_card(scored, at, images)], _facts(scored, at)
        for name, (own, near) in zip(names, sides):
            own.cards = [card(n, [images.show(n)], _lines(n)) for n in images.of_person(name, names)[:_OTHERS]]
            own.empty, near.cards = "no other image", []
        p.message.tell("Loading the network and embedding the set's images, once.")
        neighbours = self.neighbours(self.chooser.network(scored.run), images, scored)
        for name, (_, near) in zip(names, sides):
            near.cards = neighbours.cards(name)
        return f"Neighbours are the nearest of the {len(neighbours.names):,} images of this set, by the network's own distance."


class PairChooser(Explorer):
    """Filters and a gallery of pairs, of which one can be opened."""

    def __init__(self, study: Study, per_page: int = 10) -> None:
        self.study, self.per_page, self.page = study, per_page, 0
        self.scored: ScoredPairs | None = None
        self.found = np.array([], int)
        # Read once: a slider asks many times per second.
        self.read = cache(lambda run, part: scored_pairs(study, run, part))
        self.images = cache(lambda run: Images.of_run(study, run))
        self.network = cache(lambda run: load_run(study.store, run))
        filters = {
            "run": dropdown("Run", run_options(study)),
            "part": dropdown("Set", SETS),
            "kind": dropdown("Pairs", _KINDS),
            "outcome": dropdown("Classified", _OUTCOMES),
            "order": dropdown("Order", _ORDERS),
            "person": text_field("Person's name contains", "any"),
            "low": Slider(label="P(same) at least", value=0.0),
            "high": Slider(label="P(same) at most", value=1.0),
        }
        super().__init__(
            back=button("◀ previous pairs"),
            forth=button("next pairs ▶"),
            gallery=Gallery(slots=per_page, opens=True, size=84, empty="No pair matches."),
            **filters,
        )
        p = self.parts
        self.arrange(row(*filters.values()), row(p.back, p.forth), p.message, p.gallery)
        self.press(p.back, lambda: self.turn(self.page - 1))
        self.press(p.forth, lambda: self.turn(self.page + 1))
        self.follow(self.search, *filters.values())

    def opened(self) -> tuple[ScoredPairs, int, Images] | None:
        """The chosen pair: a row of scored pairs, and the images; None if none is chosen."""
        chosen = self.parts.gallery.chosen
        return (self.scored, int(chosen), self.images(self.scored.run)) if chosen and self.scored else None

    def search(self) -> str:
        """Show the first page of pairs that pass the filters."""
        p = self.parts
        p.gallery.chosen = ""
        try:
            self.scored = self.read(p.run.value, p.part.value)
            self.images(p.run.value)
        except (StudyError, OSError):
            self.scored, p.gallery.cards, p.back.disabled, p.forth.disabled = None, [], True, True
            raise
        keep = _matching(self.scored, p.kind.value, p.outcome.value, (p.low.value, p.high.value), p.person.value)
        self.found = np.flatnonzero(keep)
        self.found = self.found[np.argsort(_rank(self.scored, p.order.value)[self.found], kind="stable")]
        return self.turn(0)

    def turn(self, page: int) -> str:
        """Show a page of the pairs found."""
        if self.scored is None:
            return ""
        p, scored, first, last = self.parts, self.scored, page * self.per_page, (page + 1) * self.per_page
        self.page, shown = page, self.found[first:last]
        p.gallery.cards = [pair_card(scored, at, self.images(scored.run)) for at in shown]
        p.back.disabled, p.forth.disabled = page == 0, last >= len(self.found)
        if not len(shown):
            return f"0 of {len(scored):,} pairs."
        return (
            f"{first + 1} to {first + len(shown)} of {len(self.found):,} pairs. Above the threshold of {THRESHOLD:.2f} "
            "the network says same."
        )


class Neighbours:
    """The embedded images of a set, to find those most similar to the network."""

    def __init__(self, network: Network, images: Images, scored: ScoredPairs) -> None:
        self.network, self.images = network, images
        self.names = np.unique(np.concatenate([scored.left, scored.right])).tolist()
        self.embeddings = network.embed(images.pixels(self.names))

    def nearest(self, name: str, count: int = _NEIGHBOURS) -> list[tuple[str, float]]:
        """The nearest other images with their P(same)."""
        at = self.names.index(name)
        scores = self.network.score(self.embeddings, self.embeddings[at : at + 1])
        order = [i for i in np.argsort(-scores, kind="stable") if i != at][:count]
        return [(self.names[i], float(scores[i])) for i in order]

    def cards(self, name: str) -> list[dict[str, Any]]:
        """The nearest images as cards of a gallery, with those of the same person marked."""
        own = person_of([name])[0]
        return [
            card(n, [self.images.show(n)], f"{_lines(n)}\nP(same) {p:.2f}", "same" if person_of([n])[0] == own else "")
            for n, p in self.nearest(name)
        ]


def pair_card(
    scored: ScoredPairs, at: int, images: Images, threshold: float = THRESHOLD, digits: int = 2
) -> dict[str, Any]:
    """A card of a pair for a gallery: both images, label and score, and whether the network is correct."""
    label = "matched" if scored.label[at] > 0.5 else "mismatched"
    text = f"{label}, line {scored.line[at]}\nP(same) {scored.score[at]:.{digits}f}"
    mark = "correct" if scored.correct(threshold)[at] else "incorrect"
    return card(at, [images.show(scored.left[at]), images.show(scored.right[at])], text, mark)


def _matching(scored: ScoredPairs, kind: str, outcome: str, scores: tuple[float, float], person: str) -> np.ndarray:
    """Which pairs pass the filters: bool (n,)."""
    keep = (scored.score >= min(scores) - 1e-9) & (scored.score <= max(scores) + 1e-9)
    if kind:
        keep &= scored.label == int(kind)
    if outcome:
        keep &= scored.correct(THRESHOLD) == (outcome == "correct")
    if wanted := person.strip().lower().replace(" ", "_"):
        sides = [np.char.find(np.char.lower(person_of(names)), wanted) >= 0 for names in (scored.left, scored.right)]
        keep &= sides[0] | sides[1]
    return keep


def _rank(scored: ScoredPairs, order: str) -> np.ndarray:
    """The sort key of pairs, lowest first: float (n,)."""
    wrongness = np.abs(scored.label - scored.score)  # 0 is confident and correct, 1 confident and incorrect
    unsure = np.abs(scored.score - THRESHOLD)
    return {"wrong": -wrongness, "right": wrongness, "unsure": unsure, "line": np.arange(len(scored))}[order]


def _lines(name: str) -> str:
    return spoken(name).replace(", ", "\n")


def _facts(scored: ScoredPairs, at: int) -> str:
    score = scored.score[at]
    return (
        f"<p>Left: {escape(spoken(scored.left[at]))}. Right: {escape(spoken(scored.right[at]))}. "
        f"The label says <b>{'the same person' if scored.label[at] > 0.5 else 'two people'}</b>; the network gives P(same) "
        f"{score:.3f}, at the threshold of {THRESHOLD:.2f} <b>{'same' if score > THRESHOLD else 'different'}</b>, "
        f"which is <b>{'correct' if scored.correct(THRESHOLD)[at] else 'incorrect'}</b>. "
        f"Line {scored.line[at]} of the pair file.</p>"
    )
