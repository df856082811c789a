"""What is measured of each candidate: kinds of room, connections, addresses and doors."""

from attrs import frozen

from bench.traffic import DOORS, HOMESERVER, KINDS, PUBLIC


@frozen
class Cell:
    """One way to ask, which gives one row for each candidate."""

    kind: str
    """Of the rooms."""
    connections: int = 32
    style: str = "kept"
    """Whether connections are `kept` from request to request, or each has a `new` one.

    Nginx Proxy Manager makes a new one for each: its configuration has `proxy_http_version 1.1` and
    no `keepalive`, so nginx sends `Connection: close`.
    """
    origin: str = "many"
    """Whether each user has an address of their own, or all come from `one` proxy that names none.

    At the homeserver's door there are no addresses: the homeserver names the users.
    """
    door: str = PUBLIC

    @property
    def name(self) -> str:
        """What its rows are called, without the kind."""
        address = ", one address" if self.origin == "one" else ""
        door = ", homeserver's door" if self.door == HOMESERVER else ""
        return f"{self.connections} {self.style}{address}{door}"


CORE = [Cell(kind) for kind in KINDS]
"""What the targets for rate, CPU and workers are about."""
ALONE = [Cell(kind, connections=1) for kind in KINDS]
"""One client: what a candidate adds when nobody else asks."""
OTHERS = [
    Cell("sources", style="new"),
    *(Cell(kind, origin="one") for kind in ("open", "limit + sources")),
    *(Cell(kind, door=HOMESERVER) for kind in DOORS[HOMESERVER]),
]
"""Each other way to ask, with few kinds.

The full product would be 3 kinds × 2 numbers of connections × 2 styles × 2 origins and the other
door, some thirty cells and two minutes a round. What differs is the way to the rules, which all
kinds share: a new connection is made before anybody knows the kind, so one kind shows it. One
address counts in the shares at the door and again where tokens are judged, so the ends of the scale
are shown: a room without rules, and the one that takes longest. An open room at the homeserver's
door differs from that at the public one only by the reading of the request.
"""
CELLS = [*CORE, *ALONE, *OTHERS]
"""In the order of the tables."""
