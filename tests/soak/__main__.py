"""`make soak`: people come and go over three guards and Redis, while things break at random.

    python -m tests.soak [--seconds 600] [--seed N] [--people 60] [--rooms 20] [--guards 3]
                         [--hostile 10] [--out build/soak] [--observe] [--calm]
                         [--polling]

So many of the people are hostile clients (`tests.soak.hostile`). The same seed breaks the same
things and tries the same attacks at the same time. Ends with 1 where an invariant did not hold
(`tests.soak.judge`); the guards' logs stay in the folder. `--observe` runs guards that enforce
nothing, `--calm` breaks nothing, with `--polling` LiveKit's webhooks never arrive.
"""

import argparse
import json
import os
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from attrs import asdict, define, field

from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.real.processes import Process
from tests.soak.hostile import Hostile
from tests.soak.judge import GRACE, HOLD, INVARIANTS, SEATS, Policy, Sight
from tests.soak.people import Person
from tests.soak.plan import Fault, make_plan
from tests.soak.scene import Scene, media
from tests.soak.swarm import Swarm
from tests.soak.town import Town, in_reactor, reactor, room_id

TAKEOVER = 5.0
"""Seconds in which another guard begins to run the live loop where its leader was killed."""
SWARMS = 3


@define(eq=False)
class Soak(Scene):
    """One run."""

    people: int = 0
    guards: list[dict[str, float]] = field(factory=list)
    """What each guard was like at the end."""

    def run(self) -> None:
        """Run it, in a thread of its own."""
        self.town.start_guards()
        for _ in range(SWARMS):
            self.swarms.append(Swarm(self.town.directory, self._removed))
        self.begun = time.monotonic()
        works = [self._set_policies, self._break_things, self._observe, self._tell]
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        threads += [threading.Thread(target=one.live, daemon=True) for one in self._everybody()]
        for thread in threads:
            thread.start()
        time.sleep(self.plan.seconds)
        self.is_over = True
        for thread in threads:
            thread.join(10.0)
        died = [swarm.has_died for swarm in self.swarms]
        for swarm in self.swarms:
            swarm.close()
        self.guards = [_state_of(guard) for guard in self.town.processes]
        if any(died):
            raise RuntimeError("Clients' processes ended by themselves: see clients.log")

    def _everybody(self) -> Iterator[Person | Hostile]:
        """Make all clients; the last ones are hostile."""
        for number in range(self.people):
            swarm, hostile = self.swarms[number % SWARMS], number - self.people + self.town.hostile
            dice = Random(f"{self.plan.seed}:{number}")
            if hostile >= 0:
                yield Hostile(self, hostile, swarm, dice)
            else:
                yield Person(self, number, swarm, dice)

    # --- what is done to them ---

    def _set_policies(self) -> None:
        for rule in self.plan.rules:
            if not self.wait(rule.at):
                return
            limit = {} if rule.cap is None else {"max_users": rule.cap}
            sources = {} if rule.camera else {"allow_camera": False}
            with self.lock:
                set_state, room = self.town.sandbox.homeserver.set_state, room_id(rule.room)
                in_reactor(partial(set_state, room, LIMIT_EVENT, limit))
                in_reactor(partial(set_state, room, SOURCES_EVENT, sources))
                self.judge.policy(rule.room, Policy(self.now(), rule.cap, rule.camera))
            self.counts["policies"] += 1

    def _break_things(self) -> None:
        for fault in self.plan.faults:
            if not self.wait(fault.at):
                return
            self.counts[f"fault: {fault.kind}"] += 1
            begin = self.now()
            # It may last until it is mended, however long that takes this machine.
            with self.lock:
                self.judge.outage(begin, begin + 600.0)
                window = len(self.judge.windows) - 1
            self._break(fault)
            with self.lock:
                del self.judge.windows[window]
                self.judge.outage(begin, self.now() + self._felt(fault))
                if fault.kind in ("empty Redis", "restart Redis", "pause Redis"):
                    self.judge.outage(begin, self.now() + HOLD + GRACE, SEATS)

    def _felt(self, fault: Fault) -> float:
        if fault.kind.startswith("webhooks"):
            return 0.0  # a hint that is lost costs no more than a pass
        return TAKEOVER if fault.kind == "kill a guard" else GRACE

    def _break(self, fault: Fault) -> None:
        town = self.town
        if fault.kind == "kill a guard":
            guard = town.processes[fault.number]
            guard.kill()
            self.wait(self.now() + fault.seconds)
            guard.start()
        elif fault.kind == "pause Redis":
            town.redis.pause()
            self.wait(self.now() + fault.seconds)
            town.redis.go_on()
        elif fault.kind == "empty Redis":
            self._flush()
        elif fault.kind == "restart Redis":
            town.redis.kill()
            self.wait(self.now() + fault.seconds)
            town.redis.start()
        elif fault.kind == "restart LiveKit":
            town.livekit.process.kill()
            with self.lock:
                self.judge.forgot(self.now())
            self.wait(self.now() + fault.seconds)
            town.livekit.process.start()
        elif fault.kind.startswith("Synapse"):
            town.synapse.mood = fault.kind.split()[1]
            self.wait(self.now() + fault.seconds)
            town.synapse.mood = "well"
        else:
            town.relay.mode = fault.kind.split()[1]
            self.wait(self.now() + fault.seconds)
            town.relay.mode = "handed on"

    def _flush(self) -> None:
        import socket

        with socket.create_connection(("127.0.0.1", self.town.redis.port), 5.0) as sock:
            sock.sendall(b"FLUSHALL\r\n")
            sock.recv(64)

    # --- what LiveKit says ---

    def _observe(self) -> None:
        while self.wait(self.now() + 0.5):
            at = self.now()
            try:
                there = self.town.livekit.rooms()
                rooms: dict[int, dict[str, frozenset[str]]] = {}
                for livekit_room, number in list(self.livekit_rooms.items()):
                    if livekit_room in there:
                        self._people(self.town.livekit.participants(livekit_room), rooms, number)
            except Exception:
                self.counts["looks that failed"] += 1
                continue
            with self.lock:
                self.judge.saw(Sight(at, rooms))
            self.counts["looks"] += 1

    def _people(
        self,
        participants: list[dict[str, Any]],
        rooms: dict[int, dict[str, frozenset[str]]],
        number: int,
    ) -> None:
        """Add those of one LiveKit room to what is seen in its Matrix room."""
        people = rooms.setdefault(number, {})
        for each in participants:
            identity = str(each["identity"])
            user = self.users.get(identity) or identity.rpartition(":")[0]
            sources = frozenset(media(track) for track in each.get("tracks", []))
            people[user] = people.get(user, frozenset()) | sources

    def _removed(self, client: str) -> None:
        with self.lock:
            room, user = self.where.get(client, (-1, ""))
            self.counts["put out"] += 1
            if room >= 0:
                self.judge.removed(room, user, self.now())

    # --- what is told ---

    def _tell(self) -> None:
        while self.wait(self.now() + 10.0):
            there = len(self.where)
            print(
                f"[soak] {self.now():4.0f} s: {there} connected, {self.counts['tokens']} tokens, "
                f"{self.counts['full']} full, {self.counts['visits']} visits, worst over cap "
                f"{self.judge.worst_over:.1f} s, worst track {self.judge.worst_track:.1f} s, "
                f"{len(self.judge.violations)} violations",
                flush=True,
            )

    def report(self) -> dict[str, Any]:
        """Sum it up."""
        found = Counter(violation.invariant for violation in self.judge.violations)
        return {
            "seed": self.plan.seed,
            "seconds": self.plan.seconds,
            "people": self.people,
            "hostile": self.town.hostile,
            "rooms": self.town.rooms,
            "guards": self.town.guards,
            "counts": dict(sorted(self.counts.items())),
            "worst seconds over a cap": round(self.judge.worst_over, 2),
            "worst seconds of a forbidden track": round(self.judge.worst_track, 2),
            "seconds that forbidden cameras lived": {
                kind: summed_up(seconds) for kind, seconds in sorted(self.judge.lived.items())
            },
            "seconds that tokens took": summed_up(self.judge.took),
            "guards at the end": self.guards,
            "violations": {name: found[name] for name in INVARIANTS},
            "what": [asdict(violation) for violation in self.judge.violations[:50]],
            "faults": [asdict(fault) for fault in self.plan.faults],
        }


def summed_up(seconds: Sequence[float]) -> dict[str, float]:
    """The number, the median and the worst of some durations."""
    if not seconds:
        return {"number": 0}
    return {
        "number": len(seconds),
        "median": round(median(seconds), 2),
        "worst": round(max(seconds), 2),
    }


def _state_of(guard: Process) -> dict[str, float]:
    status = Path(f"/proc/{guard.pid}/status").read_text()
    lines = guard.text().count("\n")
    return {"MiB": int(status.partition("VmRSS:")[2].split()[0]) // 1024, "lines of log": lines}


def main() -> int:
    """Run a soak; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    seconds = float(os.environ.get("SOAK_SECONDS") or 600)
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(10**6))
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--guards", type=int, default=3)
    parser.add_argument("--hostile", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    parser.add_argument("--observe", action="store_true")
    parser.add_argument("--calm", action="store_true")
    parser.add_argument("--polling", action="store_true")
    args = parser.parse_args()
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    dice = Random(args.seed)
    settings = {"LOTUS_GUARD_MODE": "observe"} if args.observe else {}
    town = Town(
        out,
        args.rooms,
        args.guards,
        settings,
        args.hostile,
        lambda: f"http://127.0.0.1:{dice.choice(town.processes).port}",
    )
    plan = make_plan(args.seed, args.seconds, args.rooms, args.guards, not args.calm, args.hostile)
    soak = Soak(town, plan, people=args.people)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            soak.run()
        except BaseException as error:
            failed.append(error)
        finally:
            reactor.callFromThread(reactor.stop)

    print(f"[soak] seed {args.seed}, {args.seconds:.0f} s, {len(plan.faults)} faults", flush=True)
    try:
        town.build()
        town.relay.is_on = not args.polling
        reactor.callWhenRunning(threading.Thread(target=work, daemon=True).start)
        reactor.suggestThreadPoolSize(4)
        reactor.run()
    finally:
        town.stop()
    if failed:
        raise failed[0]
    report = soak.report()
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "faults"}, indent=1))
    return 1 if soak.judge.violations else 0


if __name__ == "__main__":
    sys.exit(main())
