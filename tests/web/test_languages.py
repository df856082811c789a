"""The language of a request: by its header, remembered within bounds."""

from typing import Any

from attrs import define
from twisted.web.http_headers import Headers

from lotus_guard.core.language import MOST_HEADER
from lotus_guard.web.languages import MOST_CHOSEN, Languages


@define
class Request:
    requestHeaders: Headers


def request(*said: bytes) -> Request:
    return Request(Headers({b"Accept-Language": list(said)} if said else {}))


def spoken(*said: bytes) -> str:
    return Languages().of(request(*said)).language


def test_a_request_is_spoken_to_in_its_language() -> None:
    assert spoken(b"de-AT,de;q=0.9") == "de"
    assert spoken(b"fr") == "en"
    assert spoken() == "en"


def test_a_header_in_several_lines_is_one() -> None:
    assert spoken(b"fr", b"de;q=0.5", b"en;q=0.1") == "de"


def test_what_is_remembered_of_clients_is_bounded() -> None:
    languages: Any = Languages()
    for number in range(3 * MOST_CHOSEN):
        languages.of(request(b"x%d" % number + b"y" * 8192))
    kept = languages._chosen.items()
    headers = [header for header, _ in kept]
    assert len(headers) == MOST_CHOSEN
    assert max(map(len, headers)) <= MOST_HEADER


def test_the_same_header_is_looked_at_once() -> None:
    languages: Any = Languages()
    first = languages.of(request(b"de"))
    languages.catalogues = {}
    assert languages.of(request(b"de")) is first
