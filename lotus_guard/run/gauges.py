"""What metrics and health tell of numbers that other parts keep anyway."""

from collections.abc import Callable, Mapping

from lotus_guard.observe.families import Families
from lotus_guard.observe.loop_metrics import LoopMetrics
from lotus_guard.observe.overview import Overview
from lotus_guard.observe.rooms import Rooms
from lotus_guard.rules import STANDING
from lotus_guard.run.basics import Basics
from lotus_guard.run.hints import Hints
from lotus_guard.run.loop import describe_loop


def show_what_is_known(basics: Basics, overview: Overview, hints: Hints) -> None:
    """Have health and metrics tell of what is known elsewhere."""
    health, families, rooms = basics.health, basics.metrics.families, overview.rooms
    health.watch(lambda: describe_loop(rooms.live, basics.clocks.now))
    health.watch(hints.webhooks.describe)
    health.watch(hints.pushes.describe)
    _show_modes(families, modes_of(overview))
    _show_hints(families, hints)
    _show_loop(families, rooms, basics.metrics.loop)
    _show_seats(families, rooms)


def modes_of(overview: Overview) -> dict[str, str]:
    """What each rule does: enforce, observe, or off, as those that hold in every room can be."""
    modes: Mapping[str, str] = overview.identity["rules"]
    return {rule.name: "off" for rule in STANDING} | dict(modes)


def _show_modes(families: Families, modes: Mapping[str, str]) -> None:
    gauge = families.gauge(
        "lotus_guard_mode",
        "What each rule does: enforce, observe or off; live stands for everything in live calls; "
        "the value is always 1",
        ("rule", "mode"),
    )
    for rule, mode in modes.items():
        gauge.labels(rule, mode).set(1)


def _show_hints(families: Families, hints: Hints) -> None:
    webhooks, pushes = hints.webhooks, hints.pushes
    families.show_age(
        "lotus_guard_webhook_age_seconds",
        "Time since LiveKit's last genuine webhook; absent until there is one",
        lambda: webhooks.last,
    )
    families.show_count(
        "lotus_guard_webhooks_forged_total",
        "Webhooks that are not signed with LiveKit's key",
        lambda: webhooks.forged,
    )
    families.show_age(
        "lotus_guard_push_age_seconds",
        "Time since the Synapse module last pushed anything; absent until it does",
        lambda: pushes.last,
    )
    families.show_count(
        "lotus_guard_pushes_refused_total",
        "Pushes that are not signed with the push secret, or not on time",
        lambda: pushes.refused,
    )


def _show_loop(families: Families, rooms: Rooms, loop: LoopMetrics) -> None:
    """Expose what the last pass saw; nothing where there was none, or where another guard leads."""
    live = rooms.live

    def show(name: str, text: str, value: Callable[[], float | None]) -> None:
        families.show(name, text, lambda: None if live.last_good is None else value())

    families.show(
        "lotus_guard_live_leader",
        "1 if this guard runs the live loop, 0 if another one does",
        lambda: float(live.rank.leads()),
    )
    families.show_age(
        "lotus_guard_live_last_good_pass_age_seconds",
        "Time since the live loop's last good pass; absent until there is one",
        lambda: live.last_good,
    )
    show("lotus_guard_live_rooms", "LiveKit rooms", lambda: len(live.counts))
    show("lotus_guard_live_people", "Participants in LiveKit rooms", rooms.people)
    show(
        "lotus_guard_live_rooms_under_policy",
        "Matrix rooms with a live call and a policy",
        lambda: loop.rooms,
    )
    show(
        "lotus_guard_live_people_under_policy",
        "Participants in calls of rooms with a policy",
        lambda: loop.people,
    )
    show(
        "lotus_guard_live_rooms_with_rules_lost",
        "Rooms with a live call whose rules were not copied when the room was upgraded",
        rooms.upgraded,
    )
    show(
        "lotus_guard_live_strangers",
        "Participants not known to be members of the room",
        rooms.unknown,
    )


def _show_seats(families: Families, rooms: Rooms) -> None:
    giving = rooms.live.room_pass.effects.giving
    families.show(
        "lotus_guard_claims",
        "People who may get back what the guard took from them in a call; absent if it gives "
        "nothing back",
        lambda: len(giving.store.claims) if giving else None,
    )
    families.show(
        "lotus_guard_seats_held", "Seats held for people who are not in the call", rooms.held
    )
