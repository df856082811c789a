"""A dictionary that is bounded in entries and in bytes, and forgets what was unused longest."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from sys import getsizeof
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY = 380
"""Bytes that an entry takes beside its texts: tuples, links, its weight, its part of the tables
(measured)."""


MOST_BYTES = 64 * 1024 * 1024


def weight(*texts: str) -> int:
    """How many bytes an entry with these texts takes."""
    return ENTRY + sum(map(getsizeof, texts))


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
        weigh: Callable[[K, V], int] | None = None,
    ) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._weights: dict[K, int] = {}
        """What each entry weighed when it was put: a text may weigh more later."""
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
        self._entries[key] = value
        self._entries.move_to_end(key)
        if self._weigh is not None:
            weight = self._weigh(key, value)
            self.bytes += weight - self._weights.get(key, 0)
            self._weights[key] = weight
        while len(self._entries) > self._most or self.bytes > self._most_bytes:
            if len(self._entries) == 1:
                break
            oldest, gone = self._entries.popitem(last=False)
            self.bytes -= self._weights.pop(oldest, 0)
            self._forgotten(oldest, gone)

    def pop(self, key: K) -> V | None:
        """Take an entry out; None where there was none."""
        value = self._entries.pop(key, None)
        if self._weights:
            self.bytes -= self._weights.pop(key, 0)
        return value

    def items(self) -> Iterator[tuple[K, V]]:
        """Iterate over a copy of the entries, longest unused first."""
        return iter(list(self._entries.items()))

    def oldest(self, most: int) -> list[tuple[K, V]]:
        """List up to so many of the entries, longest unused first, and count that as no use."""
        return list(islice(self._entries.items(), most))

    def __len__(self) -> int:
        return len(self._entries)
