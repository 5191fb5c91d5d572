"""The pair browser: filter and sort scored pairs; open one with its people's other images and nearest neighbours."""

from functools import lru_cache
from html import escape

import ipywidgets
import numpy as np
import pandas as pd

from lfwstudy.data.pairs import person_of
from lfwstudy.study.study import Study
from lfwstudy.verify import THRESHOLD
from lfwstudy.widgets.controls import Gallery, Message, Slider, blank, button, card, dropdown, labelled, markup, row
from lfwstudy.widgets.explorer import Explorer
from lfwstudy.widgets.finished_runs import SETS, FinishedRuns, Images, correct, spoken

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


class PairChooser(Explorer):
    """Filters and a gallery of pairs, of which one can be opened."""

    per_page = 10

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        self.runs, self.found, self.page = FinishedRuns(study), pd.DataFrame(), 0
        filters = {
            "run": dropdown("Run", self.runs.options, "40em"),
            "part": dropdown("Set", SETS),
            "kind": dropdown("Pairs", _KINDS),
            "outcome": dropdown("Classified", _OUTCOMES),
            "order": dropdown("Order", _ORDERS),
            "person": labelled(ipywidgets.Text, "Name contains", placeholder="any"),
            "low": Slider(description="P(same) at least", value=0.0),
            "high": Slider(description="P(same) at most", value=1.0),
        }
        p = self.add(
            back=button("◀ previous pairs"),
            forth=button("next pairs ▶"),
            gallery=Gallery(slots=self.per_page, opens=True, size=84, empty="No pair matches."),
            **filters,
        )
        self.watch(lambda: self.turn(self.page - 1), p.back)
        self.watch(lambda: self.turn(self.page + 1), p.forth)
        self.watch(self.load, p.run, p.part)()
        self.watch(self.search, p.kind, p.outcome, p.order, p.person, p.low, p.high)
        return [row(*filters.values()), row(p.back, p.forth), p.message, p.gallery]

    def chosen(self) -> tuple[str, str]:
        """The chosen run and set."""
        return self.parts.run.value, self.parts.part.value

    def opened(self) -> tuple[pd.DataFrame, Images] | None:
        """The opened pair, one row of scored pairs, and the images; None if none is opened."""
        run, part = self.chosen()
        key = self.parts.gallery.chosen
        return (self.runs.scored(run, part).loc[[int(key)]], self.runs.images(run)) if key else None

    def load(self) -> str:
        """Show the pairs of another run or set, and open the first."""
        p = self.parts
        blank(p.gallery)
        p.gallery.chosen, p.back.disabled, p.forth.disabled = "", True, True
        told = self.search()
        p.gallery.chosen = "".join(map(str, self.found.index[:1]))
        return told

    def search(self) -> str:
        """Show the first page of pairs that pass the filters."""
        p, scored = self.parts, self.runs.scored(*self.chosen())
        low, high = sorted((p.low.value, p.high.value))
        keep = scored.score.between(low - 1e-9, high + 1e-9)
        if p.kind.value:
            keep &= scored.label == int(p.kind.value)
        if p.outcome.value:
            keep &= correct(scored) == (p.outcome.value == "correct")
        if wanted := p.person.value.strip().lower().replace(" ", "_"):
            left, right = (names.str.lower().str.contains(wanted, regex=False) for names in (scored.left, scored.right))
            keep &= left | right
        self.found = scored.loc[_rank(scored[keep], p.order.value).sort_values(kind="stable").index]
        return self.turn(0)

    def turn(self, page: int) -> str:
        """Show a page of the pairs found."""
        p, self.page, first, last = self.parts, page, page * self.per_page, (page + 1) * self.per_page
        p.gallery.cards = self.runs.images(p.run.value).pair_cards(self.found[first:last])
        p.back.disabled, p.forth.disabled = page == 0, last >= len(self.found)
        if self.found.empty:
            return f"0 of {len(self.runs.scored(*self.chosen())):,} pairs."
        return (
            f"{first + 1} to {min(last, len(self.found))} of {len(self.found):,} pairs. Above the threshold of "
            f"{THRESHOLD:.2f} the network says same."
        )


class PairBrowser(PairChooser):
    """Scored pairs with their images, filtered and sorted; an opened pair with its people and nearest neighbours."""

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        rows = super().build(study)
        self.embedded = lru_cache(maxsize=2)(self._embedded)
        labels = ("own", "other images of this person", 2), ("near", "nearest in the embedding", 4)
        galleries = {
            f"{side}_{kind}": Gallery(label=f"{side.capitalize()}: {label}", across=1, lines=lines, size=64, slots=6)
            for kind, label, lines in labels
            for side in ("left", "right")
        }
        opened = Gallery(label="Opened pair", slots=1, size=150, empty="Choose a pair above.")
        p = self.add(opened=opened, facts=markup("5em"), note=Message(), **galleries)
        self.watch(self.show_pair, p.gallery, trait="chosen", message=p.note)()
        return [*rows, p.opened, p.facts, p.note, *galleries.values()]

    def show_pair(self) -> str:
        """Show the chosen pair, then look for its neighbours."""
        p, opened = self.parts, self.opened()
        blank(p.opened, p.facts, p.left_own, p.left_near, p.right_own, p.right_near)
        if opened is None:
            return ""
        scored, images = opened
        pair = scored.iloc[0]
        sides = (pair.left, p.left_own, p.left_near), (pair.right, p.right_own, p.right_near)
        p.opened.cards, p.facts.value = images.pair_cards(scored), _facts(pair)
        for name, own, _ in sides:
            others = [n for n in images.of_person(name) if n not in (pair.left, pair.right)]
            own.cards = [card(n, [images.show(n)], _lines(n)) for n in others[:_OTHERS]]
        p.note.tell("Loading the network and embedding the set's images, once.")
        run, part = self.chosen()
        for name, _, near in sides:
            person = person_of([name])[0]
            near.cards = [
                card(n, [images.show(n)], f"{_lines(n)}\nP(same) {score:.2f}", "same" * (person_of([n])[0] == person))
                for n, score in self.nearest(name, run, part)
            ]
        count = len(self.embedded(run, part)[0])
        return f"Neighbours are the nearest of the {count:,} images of this set, by the network's own distance."

    def nearest(self, name: str, run: str, part: str) -> list[tuple[str, float]]:
        """The other images of a set that a run's network finds most similar to one, with their P(same)."""
        names, embeddings = self.embedded(run, part)
        at = names.index(name)
        scores = self.runs.network(run).score(embeddings, embeddings[at : at + 1])
        order = [i for i in np.argsort(-scores, kind="stable") if i != at]
        return [(names[i], scores[i]) for i in order[:_NEIGHBOURS]]

    def _embedded(self, run: str, part: str) -> tuple[list[str], np.ndarray]:
        """The names of a set's images, and their embeddings."""
        scored = self.runs.scored(run, part)
        names = np.union1d(scored.left, scored.right).tolist()
        return names, self.runs.network(run).embed(self.runs.images(run).pixels(names))


def _rank(scored: pd.DataFrame, order: str) -> pd.Series:
    """The sort key of pairs, lowest first."""
    wrongness = (scored.label - scored.score).abs()  # 0 is confident and correct, 1 confident and incorrect
    unsure = (scored.score - THRESHOLD).abs()
    return {"wrong": -wrongness, "right": wrongness, "unsure": unsure, "line": scored.pair}[order]


def _lines(name: str) -> str:
    return spoken(name).replace(", ", "\n")


def _facts(pair: pd.Series) -> str:
    says = pair.score > THRESHOLD
    return (
        f"<p>Left: {escape(spoken(pair.left))}. Right: {escape(spoken(pair.right))}. The label says "
        f"<b>{'the same person' if pair.label else 'two people'}</b>; the network gives P(same) {pair.score:.3f} and says "
        f"<b>{'same' if says else 'different'}</b>, which is <b>{'correct' if says == pair.label else 'incorrect'}</b>.</p>"
    )
