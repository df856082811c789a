"""The language of a request: what web modules ask before they say something to a client.

It is asked only where something is said: a token that goes out costs nothing of it.
"""

from typing import Protocol

from attrs import define, field
from twisted.web.http_headers import Headers

from lotus_guard.core.language import MOST_HEADER, choose
from lotus_guard.core.lru import LruDict
from lotus_guard.core.sentence import Catalogue
from lotus_guard.words.files import ENGLISH, Catalogues, built_in

HEADER = b"Accept-Language"
MOST_CHOSEN = 256
"""Headers whose language is remembered, of at most MOST_HEADER bytes each: they are clients'."""


class Spoken(Protocol):
    """A request, as far as its language goes."""

    requestHeaders: Headers


def _none_yet() -> LruDict[bytes, Catalogue]:
    return LruDict(MOST_CHOSEN)


@define(eq=False)
class Languages:
    """The languages that clients are spoken to in."""

    catalogues: Catalogues = field(factory=built_in)
    _chosen: LruDict[bytes, Catalogue] = field(factory=_none_yet, init=False)

    def of(self, request: Spoken) -> Catalogue:
        """The catalogue for a request: English where it wants nothing that we have."""
        said = request.requestHeaders.getRawHeaders(HEADER)
        if not said:
            return self.catalogues[ENGLISH]
        header = b",".join(said)[:MOST_HEADER]
        known = self._chosen.get(header)
        if known is None:
            known = self.catalogues[choose(header, self.catalogues, ENGLISH)]
            self._chosen.put(header, known)
        return known
