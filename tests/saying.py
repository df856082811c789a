"""Sentences in words, for tests of who says what."""

from lotus_guard.core.sentence import Sentence
from lotus_guard.words.files import built_in

ENGLISH, GERMAN = (built_in()[language] for language in ("en", "de"))


def said(sentence: Sentence) -> str:
    """The sentence in English."""
    return ENGLISH.say(sentence)
