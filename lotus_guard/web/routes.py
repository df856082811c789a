"""The routes of a Klein app, found without its router.

Klein's router answers a path that is not UTF-8 itself, merges slashes, decodes `%2F`, and costs a
quarter of a request's time (docs/facts.md, Twisted, Klein and treq: traps). Our paths have no parts
that change, so a dictionary does: it is read off the app's own map, where the decorators put them.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import unwrap
from typing import Any

from attrs import define, field
from klein import Klein

Handler = Callable[[Any], Awaitable[None]]
"""Answers a request."""


@define(eq=False)
class Routes:
    """The handlers of an app by method and path."""

    app: Klein
    instance: object
    """Whose methods the handlers are."""
    _handlers: dict[tuple[bytes | None, bytes], Handler] = field(factory=dict, init=False)
    _rest: Handler = field(init=False)

    def __attrs_post_init__(self) -> None:
        for rule in self.app.url_map.iter_rules():
            # Klein has wrapped it to make a Deferred of its coroutine: here it is awaited as it is.
            handler = partial(unwrap(self.app.endpoints[rule.endpoint]), self.instance)
            if rule.arguments:
                self._rest = handler
                continue
            path = rule.rule.encode("ascii")
            methods = [None] if rule.methods is None else [m.encode("ascii") for m in rule.methods]
            self._handlers.update({(method, path): handler for method in methods})
        if not hasattr(self, "_rest"):
            raise ValueError("no route takes what the others leave: one must be a branch of /")

    def handler(self, method: bytes, path: bytes) -> Handler:
        """Find the handler for a request: the branch of `/` where no other route names it."""
        handlers = self._handlers
        return handlers.get((method, path)) or handlers.get((None, path), self._rest)
