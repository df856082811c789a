"""Sentences that users read: what is said, apart from the language that it is said in.

Whoever refuses something names a sentence by its key, and fills in its fields. The catalogue of a
language has a text for each key, with `{field}` where something is filled in (`{{` and `}}` are
braces). Where the wording depends on a number, it has two texts, and the field `count` decides:

    "call_full_people": {"one": "1 person", "other": "{count} people"}

What is filled in is never read as a text again, and a field is a name and nothing more: no text of
a file can reach into an object, and no value can become a text.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Optional

from attrs import field, frozen

COUNT = "count"
"""The field that decides between `one` and `other`."""
ONE, OTHER = "one", "other"

Text = str | Mapping[str, str]
"""What a catalogue has for a key: a text, or one for `one` and one for `other`."""

_MARK = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}|[{}]")


@frozen
class Sentence:
    """Something to say to a user, in whatever language."""

    key: str
    """Its name in the catalogues; what none of them has is said as it stands."""
    fields: "Fields" = field(factory=dict)
    """What is filled in; a sentence of its own is said in the same language."""


Fields = Mapping[str, str | int | Sentence]
"""What is filled in, by the names of the fields."""


@frozen
class Catalogue:
    """All that can be said, in one language."""

    language: str
    """Its tag: `en`, `de`, `pt-BR`."""
    texts: Mapping[str, Text] = field(repr=False)
    fallback: Optional["Catalogue"] = None
    """Says what this one cannot; none for English, which can say everything."""

    def say(self, sentence: Sentence) -> str:
        """Put a sentence in words; never raises, whatever is missing."""
        text = self.texts.get(sentence.key)
        if not isinstance(text, str | None):
            text = text.get(ONE if sentence.fields.get(COUNT) == 1 else OTHER)
        fields = sentence.fields
        if text is not None and (self.fallback is None or fields_in(text) <= fields.keys()):
            return "".join(self._filled_in(piece, fields) for piece in _pieces_of(text))
        return self.fallback.say(sentence) if self.fallback else sentence.key

    def _filled_in(self, piece: "_Piece", fields: Fields) -> str:
        if not piece.is_field:
            return piece.text
        value = fields.get(piece.text, f"{{{piece.text}}}")
        return self.say(value) if isinstance(value, Sentence) else str(value)


@frozen
class _Piece:
    """A part of a text: as it stands, or the name of a field."""

    text: str
    is_field: bool = False


@lru_cache(maxsize=1024)
def _pieces_of(text: str) -> tuple[_Piece, ...]:
    """Take a text apart; it is one of the catalogues', so there are not many."""
    pieces, end = list[_Piece](), 0
    for mark in _MARK.finditer(text):
        pieces.append(_Piece(text[end : mark.start()]))
        pieces.append(_Piece(mark[1], True) if mark[1] else _Piece(mark[0][0]))
        end = mark.end()
    return (*pieces, _Piece(text[end:]))


@lru_cache(maxsize=1024)
def fields_in(text: str) -> frozenset[str]:
    """List the fields that a text has."""
    return frozenset(piece.text for piece in _pieces_of(text) if piece.is_field)


def is_well_formed(text: str) -> bool:
    """Whether each brace of a text belongs to a field, or is doubled."""
    return all(len(mark[0]) > 1 for mark in _MARK.finditer(text))
