"""What metrics and health tell of numbers that other parts keep anyway."""

from collections.abc import Callable

from lotus_guard.observe.metrics import Metrics
from lotus_guard.observe.overview import Overview
from lotus_guard.run.basics import Basics
from lotus_guard.run.hints import Hints
from lotus_guard.run.loop import describe_loop


def show_what_is_known(basics: Basics, overview: Overview, hints: Hints) -> None:
    """Have health and metrics tell of what is known elsewhere."""
    health, metrics = basics.health, basics.metrics
    live, webhooks, pushes = overview.rooms.live, hints.webhooks, hints.pushes
    health.watch(lambda: describe_loop(live, basics.clocks.now))
    health.watch(webhooks.describe)
    health.watch(pushes.describe)
    metrics.show_age(
        "lotus_guard_live_last_good_pass_age_seconds",
        "Seconds since the last good pass of the live loop; -1: none yet",
        lambda: live.last_good,
    )
    metrics.show_age(
        "lotus_guard_webhook_age_seconds",
        "Seconds since LiveKit's last genuine webhook; -1: none yet",
        lambda: webhooks.last,
    )
    metrics.show_age(
        "lotus_guard_push_age_seconds",
        "Seconds since the Synapse module's last sign of life; -1: none yet",
        lambda: pushes.last,
    )
    _show_numbers(metrics, overview, hints)


def _show_numbers(metrics: Metrics, overview: Overview, hints: Hints) -> None:
    numbers: tuple[tuple[str, str, Callable[[], float]], ...] = (
        (
            "webhooks_forged",
            "Webhooks that our secret did not sign",
            lambda: hints.webhooks.forged,
        ),
        ("pushes_refused", "Pushes that our secret did not sign", lambda: hints.pushes.refused),
        (
            "seats_held",
            "Seats held for people who are not there",
            overview.rooms.held,
        ),
        ("live_rooms", "LiveKit rooms at the last pass", lambda: len(overview.rooms.live.counts)),
        ("live_people", "People in them, by LiveKit's count", overview.rooms.people),
    )
    for name, text, value in numbers:
        metrics.show(f"lotus_guard_{name}", text, value)
