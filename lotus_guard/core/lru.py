"""A dictionary that is bounded in entries and in bytes, and forgets what was unused longest."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from sys import getsizeof
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY = 300
"""Bytes that an entry takes beside its texts: tuples, links, its part of the tables (measured)."""


MOST_BYTES = 64 * 1024 * 1024


_ASCII = getsizeof("")
"""Bytes of an ASCII text beside its characters, of which each takes one."""
_OTHER = 80
"""The same of another text."""
_WIDE = 8
"""Bytes that a character of another text takes at most: four, and as many again once it has been
written somewhere, for Python keeps what it is as UTF-8 with it."""


def weight(*texts: str) -> int:
    """How many bytes an entry with these texts takes at most: always as many for equal texts.

    What Python says of a text grows when it is written. Taken off a sum to which less was added,
    that would lower the sum with each entry that goes, and the bound with it.
    """
    return ENTRY + sum(
        [_ASCII + len(text) if text.isascii() else _OTHER + _WIDE * len(text) for text in texts]
    )


class LruDict(Generic[K, V]):
    """A dictionary of bounded size that forgets what was unused longest.

    `forgotten` is told of each entry that goes for its age, not of one that is taken out. With
    `weigh`, which gives the bytes of an entry, the sum of them is bounded by `most_bytes` too.
    """

    def __init__(
        self,
        most: int,
        forgotten: Callable[[K, V], None] = lambda _k, _v: None,
        most_bytes: int = MOST_BYTES,
        weigh: Callable[[K, V], int] = lambda _k, _v: 0,
    ) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()
        self.peek: Callable[[K], V | None] = self._entries.get
        """Looks an entry up and does not count that as a use."""
        self._most = most
        self._forgotten = forgotten
        self._most_bytes = most_bytes
        self._weigh = weigh
        self.bytes = 0
        """The sum of what `weigh` gave."""

    def get(self, key: K) -> V | None:
        """Look an entry up and count that as a use."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Set an entry and forget the oldest ones over the bounds; the newest one always stays."""
        entries = self._entries
        before = entries.get(key)
        if before is not None:
            entries.move_to_end(key)
            if before is value:
                return  # it weighs what it did
            self.bytes -= self._weigh(key, before)
        entries[key] = value
        self.bytes += self._weigh(key, value)
        while (len(entries) > self._most or self.bytes > self._most_bytes) and len(entries) > 1:
            oldest, gone = entries.popitem(last=False)
            self.bytes -= self._weigh(oldest, gone)
            self._forgotten(oldest, gone)

    def pop(self, key: K) -> V | None:
        """Take an entry out; None where there was none."""
        value = self._entries.pop(key, None)
        if value is not None:
            self.bytes -= self._weigh(key, value)
        return value

    def items(self) -> Iterator[tuple[K, V]]:
        """Iterate over a copy of the entries, longest unused first."""
        return iter(list(self._entries.items()))

    def oldest(self, most: int) -> list[tuple[K, V]]:
        """List up to so many of the entries, longest unused first, and count that as no use."""
        return list(islice(self._entries.items(), most))

    def __len__(self) -> int:
        return len(self._entries)
