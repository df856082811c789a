"""What LiveKit makes of a grant (docs/facts.md, LiveKit: permissions)."""

from lotus_guard.core.model import Grant


def allows(grant: Grant, source: str) -> bool:
    """Whether LiveKit would let this source be published."""
    return grant.can_publish and (not grant.sources or source in grant.sources)
