"""The policies of rooms, by rule."""

from attrs import frozen

from lotus_guard.core.model import LimitPolicy, SourcePolicy
from lotus_guard.enforce.policies import Policies


@frozen
class BothPolicies:
    """What is known of the rooms' policies."""

    limits: Policies[LimitPolicy]
    sources: Policies[SourcePolicy]
