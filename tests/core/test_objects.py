"""Objects in what others send."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lotus_guard.core.objects import json_object, part_of, text_of


@pytest.mark.parametrize("body", [b'{"a": 1}', '{"a": 1}', b' {"a": 2, "a": 1}\n'])
def test_an_object_is_read(body: bytes | str) -> None:
    assert json_object(body) == {"a": 1}


@given(
    st.binary(max_size=12)
    | st.sampled_from(
        ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le"]
    ).flatmap(
        lambda name: st.text('{}"a: 1\ud800\u00e4', max_size=12).map(
            lambda text: ("{" + text).encode(name, "surrogatepass")
        )
    )
)
@example('{"a": "\ud800"}'.encode("utf-8", "surrogatepass"))
@example('{"a": 1}'.encode("utf-16-le"))
@example(b'\xef\xbb\xbf{"a": 1}')
def test_bytes_are_read_as_json_reads_them(body: bytes) -> None:
    """Whatever they are encoded in: what a client reads, we read as well."""
    try:
        wanted = json.loads(body)
    except ValueError:
        wanted = None
    assert json_object(body) == (wanted if isinstance(wanted, dict) else None)


def test_an_empty_object_is_one() -> None:
    assert json_object(b"{}") == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"null", b"\xff", b"[" * 100_000])
def test_whatever_else_there_is_is_none(body: bytes) -> None:
    assert json_object(body) is None


def test_a_part_is_an_object_or_empty() -> None:
    fields = {"a": {"b": 1}, "c": [1], "d": None}
    assert part_of(fields, "a") == {"b": 1}
    assert [part_of(fields, name) for name in ("c", "d", "e")] == [{}, {}, {}]


def test_what_is_no_text_is_empty() -> None:
    fields = {"text": "x", "number": 1, "none": None, "list": ["x"]}
    assert [text_of(fields, name) for name in (*fields, "missing")] == ["x", "", "", "", ""]
