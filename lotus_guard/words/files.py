"""The files of words: English and German here, and an operator's own in a directory of theirs.

A file is named by its language, `pl.json` or `pt-BR.json`, and is one JSON object: a text for each
key that English has, with the same fields. An operator's file may lack keys, and those of a
language that is here already go before ours. What a language lacks is said in English.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lotus_guard.core.language import shortened
from lotus_guard.core.sentence import (
    COUNT,
    ONE,
    OTHER,
    Catalogue,
    Text,
    fields_in,
    is_well_formed,
)
from lotus_guard.core.text import shown

ENGLISH = "en"
MOST_BYTES = 256 * 1024
"""Of a file; ours have some ten thousand."""

_HERE = Path(__file__).parent
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_FORMS = (ONE, OTHER)

Words = Mapping[str, Text]
"""The texts of a file, by key."""
Catalogues = Mapping[str, Catalogue]
"""A catalogue for each language, by its tag in lower case; English is always among them."""


class FaultyWords(Exception):
    """A directory from which not all words could be read; `faults` has a line for each fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@cache
def built_in() -> Catalogues:
    """Read the languages that come with the guard."""
    return _catalogues(_built_in_words())


def with_words_of(directory: Path) -> Catalogues:
    """Read them and an operator's; raises FaultyWords with every fault."""
    ours, theirs = _built_in_words(), words_of(directory)
    return _catalogues(ours | {tag: {**ours.get(tag, {}), **theirs[tag]} for tag in theirs})


def words_of(directory: Path) -> dict[str, Words]:
    """Read an operator's files, by language in lower case; raises FaultyWords with every fault."""
    english, faults, found = _built_in_words()[ENGLISH], list[str](), dict[str, Words]()
    try:
        paths = sorted(each for each in directory.iterdir() if each.suffix == ".json")
    except OSError as error:
        raise FaultyWords(f"{directory}: {error.strerror}; expected a directory") from None
    if not paths:
        faults.append(
            f"{directory}: it has no translation; expected <language>.json, such as pl.json"
        )
    for path in paths:
        try:
            found[path.stem.lower()] = _read(path, english)
        except FaultyWords as why:
            faults += why.faults
    if faults:
        raise FaultyWords(*faults)
    return found


@cache
def _built_in_words() -> dict[str, Words]:
    paths = sorted(_HERE.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _catalogues(words: Mapping[str, Words]) -> Catalogues:
    """Make the catalogues, shorter tags first: `de-at` falls back to `de`, and `de` to English."""
    made: dict[str, Catalogue] = {}
    for tag in sorted(words, key=lambda each: (each != ENGLISH, len(each))):
        before = [made[each] for each in shortened(tag)[1:] if each in made]
        made[tag] = Catalogue(tag, words[tag], next(iter(before), made.get(ENGLISH)))
    return made


def _read(path: Path, english: Words) -> Words:
    if not _TAG.fullmatch(path.stem):
        raise FaultyWords(
            f"{path}: {shown(path.stem)} is not a language; expected de.json, pt-BR.json"
        )
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        found = json.loads(body, object_pairs_hook=_each_once) if len(body) <= MOST_BYTES else None
    except OSError as error:
        raise FaultyWords(f"{path}: {error.strerror}; expected a readable file") from None
    except (ValueError, RecursionError) as error:
        raise FaultyWords(f"{path}: {error}; expected JSON in UTF-8") from None
    if not isinstance(found, dict):
        wanted = f"one JSON object of at most {MOST_BYTES} bytes"
        raise FaultyWords(f"{path}: something else; expected {wanted}")
    faults = [f"{path}: {fault}" for key in found for fault in faults_of(key, found[key], english)]
    if faults:
        raise FaultyWords(*faults)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{shown(twice)} appears twice")
    return found


def faults_of(key: str, value: object, english: Words) -> list[str]:
    """Find what is wrong with what a language has for a key."""
    if key not in english:
        return [f"{shown(key)} is an unknown key; expected the keys of English"]
    wanted = _fields_of(english[key])
    if isinstance(value, str):
        return _faults_of_text(key, value, wanted, wanted)
    if COUNT in wanted and isinstance(value, dict) and sorted(value) == sorted(_FORMS):
        least = {ONE: wanted - {COUNT}, OTHER: wanted}
        return [
            fault
            for form in _FORMS
            for fault in _faults_of_text(f"{key}, {form}", value[form], least[form], wanted)
        ]
    forms = f", or one for each of {ONE} and {OTHER}" if COUNT in wanted else ""
    return [f"{key} is {shown(value)}; expected a text{forms}"]


def _faults_of_text(
    key: str, text: object, least: frozenset[str], most: frozenset[str]
) -> list[str]:
    if not isinstance(text, str) or not text.strip():
        return [f"{key} is {shown(text)}; expected a text"]
    if any("\ud800" <= each <= "\udfff" for each in text):
        return [f"{key} has half a character; expected a text"]
    if not is_well_formed(text):
        return [f"{key} has a stray brace; expected a field such as {{count}}, or {{{{ or }}}}"]
    found = fields_in(text)
    if least <= found <= most:
        return []
    return [f"{key} has {_listed(found)}; expected {_listed(most)}"]


def _fields_of(text: Text) -> frozenset[str]:
    return fields_in(text if isinstance(text, str) else text[OTHER])


def _listed(fields: frozenset[str]) -> str:
    return ", ".join(f"{{{each}}}" for each in sorted(fields)) or "no fields"
