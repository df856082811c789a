"""The guard itself, its operators' port and its pushes."""

from lotus_guard.check.finding import Level
from lotus_guard.enforce.hints import CLOCKS
from tests.check.breaks import Break, F, W, each_is_found
from tests.check.checked_stack import CheckedStack, port_of
from tests.real.processes import free_port


def pushes_are_refused(stack: CheckedStack) -> None:
    stack.operators.pushes = {"taken": 0, "refused": 7, "refused_age": 4.0}
    stack.operators.states["pushes"]["age"] = None


def pushes_are_refused_of_late(stack: CheckedStack) -> None:
    stack.operators.pushes = {"taken": 9, "refused": 7, "refused_age": 4.0}
    stack.operators.states["pushes"]["age"] = 3000.0


def pushes_without_our_secret(stack: CheckedStack) -> None:
    pushes_are_refused(stack)
    del stack.environment["LOTUS_GUARD_PUSH_SECRET"]


def no_guard(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_LISTEN"] = f"tcp:{free_port()}"


def another_program(stack: CheckedStack) -> None:
    port = port_of(stack.environment["LOTUS_GUARD_SYNAPSE_URL"])
    stack.environment["LOTUS_GUARD_LISTEN"] = f"tcp:{port}"


def an_older_guard(stack: CheckedStack) -> None:
    stack.operators.is_old = True


def the_store_is_ill(stack: CheckedStack) -> None:
    stack.operators.states["store"] |= {"state": "trouble", "detail": "disk full \x1b[2J"}


def livekit_is_out(stack: CheckedStack) -> None:
    stack.operators.states["livekit"] = in_trouble(
        "livekit", "no answer from LiveKit within 1 s (timeout)"
    )


def the_clock_is_off(stack: CheckedStack) -> None:
    said = "this machine's clock is 600 s ahead of LiveKit's"
    stack.operators.states["clock"] = in_trouble("clock", said)


def pushes_come_at_another_time(stack: CheckedStack) -> None:
    stack.operators.pushes = {"taken": 0, "refused": 3, "refused_age": 1.0}
    stack.operators.states["pushes"] = in_trouble("pushes", f"the last one was late: {CLOCKS}")


def operators_port_is_open(stack: CheckedStack) -> None:
    listen = stack.environment["LOTUS_GUARD_ADMIN_LISTEN"]
    stack.environment["LOTUS_GUARD_ADMIN_LISTEN"] = listen.partition(":interface")[0]


def in_trouble(name: str, detail: str) -> dict[str, object]:
    return {"name": name, "state": "trouble", "age": None, "detail": detail}


BREAKS: list[tuple[Break, str, Level, str]] = [
    (pushes_are_refused, "pushes", F, "another secret"),
    (pushes_are_refused_of_late, "pushes", F, "7 refused"),
    (pushes_without_our_secret, "pushes", F, "is not set"),
    (no_guard, "guard", F, "is not running"),
    (another_program, "guard", F, "not a guard with this secret"),
    (an_older_guard, "operators-port", W, "older guard"),
    (the_store_is_ill, "operators-port", W, "disk full \\x1b[2J"),
    (livekit_is_out, "operators-port", W, "LiveKit: no answer from LiveKit"),
    (the_clock_is_off, "operators-port", W, "the clock: this machine's clock is 600 s ahead"),
    (pushes_come_at_another_time, "pushes", F, "chrony"),
    (operators_port_is_open, "operators-port-exposed", W, "interface=127.0.0.1"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)
