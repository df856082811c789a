"""What metrics and health tell of numbers that other parts keep anyway."""

from lotus_guard.observe.families import Families
from lotus_guard.observe.rooms import Rooms
from lotus_guard.run.basics import Basics
from lotus_guard.run.hints import Hints
from lotus_guard.run.loop import describe_loop


def show_what_is_known(basics: Basics, rooms: Rooms, hints: Hints) -> None:
    """Have health and metrics tell of what is known elsewhere."""
    health, families = basics.health, basics.metrics.families
    health.watch(lambda: describe_loop(rooms.live, basics.clocks.now))
    health.watch(hints.webhooks.describe)
    health.watch(hints.pushes.describe)
    _show_hints(families, hints)
    _show_rooms(families, rooms)


def _show_hints(families: Families, hints: Hints) -> None:
    webhooks, pushes = hints.webhooks, hints.pushes
    families.show_age(
        "lotus_guard_webhook_age_seconds",
        "Seconds since LiveKit's last genuine webhook; -1: none yet",
        lambda: webhooks.last,
    )
    families.show(
        "lotus_guard_webhooks_forged",
        "Webhooks that our secret did not sign",
        lambda: webhooks.forged,
    )
    families.show_age(
        "lotus_guard_push_age_seconds",
        "Seconds since the Synapse module's last sign of life; -1: none yet",
        lambda: pushes.last,
    )
    families.show(
        "lotus_guard_pushes_refused", "Pushes that our secret did not sign", lambda: pushes.refused
    )


def _show_rooms(families: Families, rooms: Rooms) -> None:
    live = rooms.live
    families.show_age(
        "lotus_guard_live_last_good_pass_age_seconds",
        "Seconds since the last good pass of the live loop; -1: none yet",
        lambda: live.last_good,
    )
    families.show(
        "lotus_guard_live_rooms", "LiveKit rooms at the last pass", lambda: len(live.counts)
    )
    families.show(
        "lotus_guard_live_rooms_with_rules_lost",
        "Live rooms without rules that replaced a room with rules",
        rooms.upgraded,
    )
    families.show(
        "lotus_guard_live_strangers",
        "People in calls who are not known to be members of the room",
        rooms.unknown,
    )
    families.show("lotus_guard_live_people", "People in them, by LiveKit's count", rooms.people)
    giving = live.room_pass.effects.giving
    families.show(
        "lotus_guard_claims",
        "People who could be given back what was taken from them in calls",
        lambda: len(giving.store.claims) if giving else 0,
    )
    families.show("lotus_guard_seats_held", "Seats held for people who are not there", rooms.held)
