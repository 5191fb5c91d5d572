"""The pair browser: pairs found by what they are and how they were judged; one opened beside its people's other pictures."""

import functools
import html

import numpy as np

from lfwstudy.data.pairs import person_of
from lfwstudy.errors import StudyError
from lfwstudy.widgets.controls import (
    Gallery,
    Slider,
    button,
    dropdown,
    explorer,
    guarded,
    markup,
    message,
    panel,
    row,
    tell,
    text_field,
    when_changed,
)
from lfwstudy.widgets.finished_runs import SETS, Network, Pictures, bank_of, run_options, scored_pairs, spoken

_KINDS = [("matched and mismatched", ""), ("matched (one person)", "1"), ("mismatched (two people)", "0")]
_OUTCOMES = [("right and wrong", ""), ("judged wrongly", "wrong"), ("judged rightly", "right")]
_ORDERS = [
    ("most wrong first", "wrong"),
    ("surest and right first", "right"),
    ("least sure first", "unsure"),
    ("order of the pair file", "line"),
]
_NEIGHBOURS = 6
_THRESHOLD = 0.5


@explorer
def browse_pairs(study):
    """Scored pairs with their pictures, filtered and sorted; an opened pair with its people and nearest neighbours."""
    networks = {}
    chooser = choose_pairs(study)
    facts, told = markup("5em"), message()
    both = Gallery(label="Opened pair", slots=1, size=150, empty="Choose a pair above.")
    left_own, right_own = (
        Gallery(label=f"{side}: other pictures of this person", slots=6, across=1, lines=2, size=64, empty="–")
        for side in ("Left", "Right")
    )
    left_near, right_near = (
        Gallery(label=f"{side}: nearest in the embedding", slots=_NEIGHBOURS, across=1, lines=4, size=64, empty="–")
        for side in ("Left", "Right")
    )

    def open_pair():
        opened = chooser.opened()
        if opened is None:
            both.cards, left_own.cards, right_own.cards, left_near.cards, right_near.cards = [], [], [], [], []
            facts.value, left_own.empty, right_own.empty = "", "–", "–"
            return ""
        scored, at, pictures = opened
        names = scored.left[at], scored.right[at]
        both.cards = [pair_card(scored, at, pictures)]
        facts.value = _facts(scored, at)
        for name, place in zip(names, (left_own, right_own)):
            place.cards = [single_card(n, pictures, _in_two_lines(n)) for n in pictures.of_person(name, names)[:12]]
            place.empty = "no other picture"
        left_near.cards = right_near.cards = []
        if scored.run not in networks:
            tell(told, "Loading the network.")
            networks[scored.run] = Network(study, scored.run)
        network = networks[scored.run]
        tell(told, "Embedding the set's pictures, once.")
        network.remember(np.concatenate([scored.left, scored.right]), pictures.bank)
        for name, place in zip(names, (left_near, right_near)):
            place.cards = [
                single_card(n, pictures, f"{_in_two_lines(n)}\nP(same) {p:.2f}", person_of([n, name]))
                for n, p in network.nearest(name, _NEIGHBOURS)
            ]
        return (
            f"Neighbours are looked for among the {len(network.names):,} pictures of this set, by the network's own "
            "distance; ✓ is the same person."
        )

    refresh = guarded(told, open_pair)
    chooser.parts.gallery.observe(refresh, "chosen")
    refresh()
    return panel(
        chooser,
        both,
        facts,
        told,
        left_own,
        right_own,
        left_near,
        right_near,
        **vars(chooser.parts),
        opened=both,
        facts=facts,
        told=told,
        left_own=left_own,
        right_own=right_own,
        left_near=left_near,
        right_near=right_near,
    )


def choose_pairs(study, per_page=10):
    """A panel of filters and a gallery of pairs; `.opened()` is (ScoredPairs, row, Pictures) of the chosen one, or None."""
    runs = dropdown("Run", run_options(study))
    part = dropdown("Set", SETS)
    kind, outcome = dropdown("Pairs", _KINDS), dropdown("Judged", _OUTCOMES)
    low = Slider(label="P(same) at least", value=0.0)
    high = Slider(label="P(same) at most", value=1.0)
    person, order = text_field("Person's name has", "any"), dropdown("Order", _ORDERS)
    back, forth = button("◀ previous pairs"), button("next pairs ▶")
    told = message()
    gallery = Gallery(slots=per_page, opens=True, size=84, empty="No pair is like that.")
    state = {"page": 0, "rows": np.array([], int), "scored": None}
    # Read once: a slider asks many times a second.
    read = functools.cache(lambda run, part_: scored_pairs(study, run, part_))
    pictures = functools.cache(lambda run: Pictures(bank_of(study, run)))

    def page():
        rows, at = state["rows"], state["page"] * per_page
        shown = rows[at : at + per_page]
        gallery.cards = [pair_card(state["scored"], i, pictures(runs.value)) for i in shown]
        back.disabled, forth.disabled = at == 0, at + per_page >= len(rows)
        if not len(shown):
            return f"0 of {len(state['scored']):,} pairs."
        return (
            f"{at + 1} to {at + len(shown)} of {len(rows):,} pairs. Above the threshold of {_THRESHOLD:.2f} the network says "
            "same."
        )

    def search():
        gallery.chosen = ""
        try:
            state["scored"] = read(runs.value, part.value)
            pictures(runs.value)
        except (StudyError, OSError):
            state["scored"], gallery.cards, back.disabled, forth.disabled = None, [], True, True
            raise
        state["rows"] = _find(
            state["scored"], kind.value, outcome.value, low.value, high.value, person.value, order.value
        )
        state["page"] = 0
        return page()

    def turn(by):
        def move():
            state["page"] += by
            return page()

        return guarded(told, move)

    def opened():
        if not gallery.chosen or state["scored"] is None:
            return None
        return state["scored"], int(gallery.chosen), pictures(runs.value)

    refresh = guarded(told, search)
    when_changed(refresh, runs, part, kind, outcome, low, high, person, order)
    back.on_click(turn(-1))
    forth.on_click(turn(1))
    refresh()
    box = panel(
        row(runs, part, kind, outcome, order, person, low, high),
        row(back, forth),
        told,
        gallery,
        run=runs,
        part=part,
        kind=kind,
        outcome=outcome,
        low=low,
        high=high,
        person=person,
        order=order,
        back=back,
        forth=forth,
        message=told,
        gallery=gallery,
    )
    box.opened = opened
    return box


def pair_card(scored, at, pictures):
    """A gallery card of a pair: both pictures, what it is, what the network says, right or wrong."""
    same = scored.label[at] > 0.5
    right = bool(scored.right_answer(_THRESHOLD)[at])
    return {
        "key": str(at),
        "pictures": [pictures.show(scored.left[at]), pictures.show(scored.right[at])],
        "text": f"{'matched' if same else 'mismatched'}, line {scored.line[at]}\nP(same) {scored.score[at]:.2f}",
        "mark": "right" if right else "wrong",
    }


def single_card(name, pictures, text, people=()):
    """A gallery card of one picture; people: two names, marked right where they are one person."""
    return {
        "key": name,
        "pictures": [pictures.show(name)],
        "text": text,
        "mark": "right" if len(people) and people[0] == people[1] else "",
    }


def wrongness(scored):
    """How far each score is from its label: 0 is sure and right, 1 sure and wrong."""
    return np.abs(scored.label - scored.score)


def _find(scored, kind, outcome, low, high, person, order):
    right = scored.right_answer(_THRESHOLD)
    keep = (scored.score >= min(low, high) - 1e-9) & (scored.score <= max(low, high) + 1e-9)
    if kind:
        keep &= scored.label == int(kind)
    if outcome:
        keep &= right == (outcome == "right")
    if person.strip():
        wanted = person.strip().lower().replace(" ", "_")
        keep &= np.array(
            [
                wanted in left.lower() or wanted in right_.lower()
                for left, right_ in zip(person_of(scored.left), person_of(scored.right))
            ]
        )
    rows = np.flatnonzero(keep)
    by = {
        "wrong": -wrongness(scored),
        "right": wrongness(scored),
        "unsure": np.abs(scored.score - _THRESHOLD),
        "line": np.arange(len(scored)),
    }[order]
    return rows[np.argsort(by[rows], kind="stable")]


def _in_two_lines(name):
    return spoken(name).replace(", ", "\n")


def _facts(scored, at):
    same, score = scored.label[at] > 0.5, scored.score[at]
    verdict = "right" if scored.right_answer(_THRESHOLD)[at] else "wrong"
    return (
        f"<p>Left: {html.escape(spoken(scored.left[at]))}. Right: {html.escape(spoken(scored.right[at]))}. "
        f"The label says <b>{'the same person' if same else 'two people'}</b>; the network says P(same) {score:.3f}, "
        f"with the threshold at {_THRESHOLD:.2f} that is <b>{'same' if score > _THRESHOLD else 'different'}</b>, "
        f"which is <b>{verdict}</b>. Line {scored.line[at]} of the pair file.</p>"
    )
