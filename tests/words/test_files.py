"""The files of words: ours are whole, and an operator's are checked as they are read."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lotus_guard.core.sentence import Sentence
from lotus_guard.rules import RULES
from lotus_guard.words.files import (
    ENGLISH,
    MOST_BYTES,
    FaultyWords,
    built_in,
    faults_of,
    with_words_of,
    words_of,
)
from tests.saying import GERMAN

CODE = Path(__file__).resolve().parents[2] / "lotus_guard"
FILES = sorted((CODE / "words").glob("*.json"))
KEYS = json.loads((CODE / "words/en.json").read_text())
VERBATIM = {"core/sentence.py", "words/files.py"}
MAKE_SENTENCES = {"Sentence": 0, "Unreadable": 1, "Unfit": 0}
"""The calls that name a sentence, and which of their arguments is its key."""
"""Keys that are there for rules to come."""


def sentences_in_code() -> dict[str, set[frozenset[str]]]:
    """The keys of all sentences that the code names, and the fields that it fills in."""
    found: dict[str, set[frozenset[str]]] = {}
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if not isinstance(node, ast.Call) or name not in MAKE_SENTENCES:
                continue
            place = MAKE_SENTENCES[name]
            if len(node.args) > place and isinstance(key := node.args[place], ast.Constant):
                found.setdefault(str(key.value), set()).add(fields_given(node, place))
    return found


def fields_given(call: ast.Call, place: int) -> frozenset[str]:
    named = {each.arg for each in call.keywords if each.arg}
    for each in call.args[place + 1 :]:
        if isinstance(each, ast.Dict):
            named |= {str(key.value) for key in each.keys if isinstance(key, ast.Constant)}
    return frozenset(named)


def fields_of(value: Any) -> frozenset[str]:
    text = value if isinstance(value, str) else value["other"]
    return frozenset(re.findall(r"(?<!\{)\{(\w+)\}", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_language_has_the_keys_of_english_in_its_order_with_its_fields(path: Path) -> None:
    words = json.loads(path.read_text())
    assert list(words) == list(KEYS)
    assert [fault for key in words for fault in faults_of(key, words[key], KEYS)] == []
    twice = re.findall(r'^  "(\w+)"', path.read_text(), re.MULTILINE)
    assert twice == list(words), "a key a line, each once"


def test_each_language_says_each_sentence_in_its_own_words() -> None:
    assert {"en", "de"} <= {path.stem for path in FILES}
    same = [key for key in KEYS if GERMAN.texts[key] == KEYS[key]]
    assert same == []


def test_german_is_typeset_as_german() -> None:
    texts = json.dumps(dict(GERMAN.texts), ensure_ascii=False)
    assert "…" not in texts
    assert "'" not in texts
    assert texts.count("„") == texts.count("“")
    assert re.findall(r"\b(?:Sie|Ihr\w*|Ihnen)\b", texts) == [], "users are du"


def test_each_sentence_of_the_code_is_a_key_with_its_fields() -> None:
    found = sentences_in_code()
    lost = [key for key in found if key not in KEYS and " " not in key]
    assert lost == [], "a text that is said as it stands has more than one word"
    assert len(found) > 30
    given = {key: fields for key, fields in found.items() if key in KEYS and key != "reference"}
    assert given == {key: {fields_of(KEYS[key])} for key in given}


def test_each_key_is_somewhere_said() -> None:
    page = (CODE / "web/landing.html").read_text()
    said = set(sentences_in_code()) | set(re.findall(r"\{(\w+)\}", page))
    said |= {rule.examples[0].title for rule in RULES}
    assert [key for key in KEYS if key not in said] == []
    assert {title for rule in RULES for title in [rule.examples[0].title]} <= set(KEYS)


def write(directory: Path, name: str, words: Any) -> Path:
    text = words if isinstance(words, str) else json.dumps(words)
    (directory / name).write_text(text, encoding="utf-8")
    return directory


def test_an_operators_language_is_spoken_and_what_it_lacks_is_said_in_english(
    tmp_path: Path,
) -> None:
    write(tmp_path, "pl.json", {"not_a_member": "Nie jesteś w tym pokoju."})
    polish = with_words_of(tmp_path)["pl"]
    assert polish.say(Sentence("not_a_member")) == "Nie jesteś w tym pokoju."
    assert polish.say(Sentence("service_failed")) == "The call service failed. Try again."


def test_an_operators_words_go_before_ours_one_by_one(tmp_path: Path) -> None:
    write(tmp_path, "de.json", {"not_a_member": "Sie sind hier nicht Mitglied."})
    write(tmp_path, "en.json", {"not_a_member": "Members only."})
    words = with_words_of(tmp_path)
    assert words["de"].say(Sentence("not_a_member")) == "Sie sind hier nicht Mitglied."
    assert words["de"].say(Sentence("no_homeserver")) == "Dies ist kein Matrix-Homeserver."
    assert words[ENGLISH].say(Sentence("not_a_member")) == "Members only."
    assert built_in()[ENGLISH].say(Sentence("not_a_member")).startswith("You are")


def test_a_countrys_words_fall_back_to_its_language(tmp_path: Path) -> None:
    write(tmp_path, "de-CH.json", {"not_a_member": "Du bist nöd i dem Ruum."})
    swiss = with_words_of(tmp_path)["de-ch"]
    assert swiss.say(Sentence("not_a_member")) == "Du bist nöd i dem Ruum."
    assert swiss.say(Sentence("no_homeserver")) == "Dies ist kein Matrix-Homeserver."


def test_other_files_beside_them_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("ours")
    assert list(words_of(write(tmp_path, "pl.json", {}))) == ["pl"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ({"not_member": "x"}, "'not_member' is an unknown key; expected the keys of English"),
        ({"not_a_member": 5}, "not_a_member is 5; expected a text"),
        ({"not_a_member": " "}, "not_a_member is ' '; expected a text"),
        ({"not_a_member": {"one": "x", "other": "y"}}, "expected a text"),
        ({"not_a_member": "{who}"}, "not_a_member has {who}; expected no fields"),
        ({"reference": "{sentence}"}, "reference has {sentence}; expected {decision}, {sentence}"),
        (
            {"reference": "{sentence} {decision"},
            "reference has a stray brace; expected a field",
        ),
        ({"call_full_people": {"other": "{count}"}}, "expected a text, or one for each of one and"),
        ({"call_full_people": {"one": "1", "other": "many"}}, "call_full_people, other has no"),
        ({"call_full_people": {"one": None, "other": "{count}"}}, "call_full_people, one is None"),
        ('{"not_a_member": "x\\ud800"}', "not_a_member has half a character; expected a text"),
        ([], "something else; expected one JSON object of at most"),
        ("{", "expected JSON in UTF-8"),
        ('{"reference": "x"\n "y"}', "line 2 column 2"),
        ("[" * 100_000, "expected JSON in UTF-8"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' appears twice"),
        ("{" + " " * MOST_BYTES + "}", "something else; expected one JSON object of at most"),
    ],
)
def test_a_fault_names_the_file_the_key_and_what_is_wanted(
    tmp_path: Path, words: Any, fault: str
) -> None:
    with pytest.raises(FaultyWords) as raised:
        words_of(write(tmp_path, "pl.json", words))
    (told,) = raised.value.faults
    assert told.startswith(f"{tmp_path}/pl.json: ")
    assert fault in told


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "pl.json", {"a": "b", "not_a_member": 1})
    write(tmp_path, "fr.json", "no")
    with pytest.raises(FaultyWords) as raised:
        words_of(tmp_path)
    assert len(raised.value.faults) == 3


def test_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "pl.json").write_bytes(b'{"not_a_member": "\xff"}')
    with pytest.raises(FaultyWords, match="expected JSON in UTF-8"):
        words_of(tmp_path)


@pytest.mark.parametrize("name", ["polski.words.json", "pl_PL.json", "p.json", "..json"])
def test_a_file_that_is_named_after_no_language_is_a_fault(tmp_path: Path, name: str) -> None:
    with pytest.raises(FaultyWords, match=r"is not a language; expected de\.json"):
        words_of(write(tmp_path, name, {}))


def test_a_directory_without_words_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FaultyWords, match=r"it has no translation; expected <language>\.json"):
        words_of(tmp_path)
    with pytest.raises(FaultyWords, match="expected a directory"):
        words_of(tmp_path / "not there")


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "pl.json").mkdir()
    with pytest.raises(FaultyWords, match="expected a readable file"):
        words_of(tmp_path)
