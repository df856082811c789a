"""`make soak`: people come and go over three guards and Redis, while things break at random.

    python -m tests.soak [--seconds 600] [--seed N] [--people 60] [--rooms 20] [--guards 3]
                         [--out build/soak] [--observe] [--calm]

The same seed breaks the same things at the same time. Ends with 1 where an invariant did not hold
(`tests.soak.judge`); the guards' logs stay in the folder. `--observe` runs guards that enforce
nothing, `--calm` breaks nothing.
"""

import argparse
import json
import os
import secrets
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from attrs import asdict, define, field

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, alias_of
from lotus_guard.core.policy import LIMIT_EVENT, SOURCES_EVENT
from tests.real.processes import http
from tests.soak.judge import GRACE, HOLD, SEATS, Judge, Policy, Sight
from tests.soak.plan import Fault, Plan, make_plan
from tests.soak.swarm import Swarm
from tests.soak.town import Town, in_reactor, reactor, room_id

SOURCES = {"CAMERA": "camera", "SCREEN_SHARE": "screen_share"}
TAKEOVER = 5.0
"""Seconds in which another guard begins to run the live loop where its leader was killed."""
SWARMS = 3
NOT_MADE = "The SFU did not make a room"
"""What upstream says while LiveKit restarts; a moment later it may say something else."""


@define(eq=False)
class Soak:
    """One run."""

    town: Town
    plan: Plan
    people: int
    judge: Judge = field(factory=Judge)
    counts: Counter[str] = field(factory=Counter)
    swarms: list[Swarm] = field(factory=list)
    begun: float = 0.0
    is_over: bool = False
    where: dict[str, tuple[int, str]] = field(factory=dict)
    """The room and user of each client that is connected."""
    _lock: threading.RLock = field(factory=threading.RLock)

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    def run(self) -> None:
        """Run it, in a thread of its own."""
        self.town.start_guards()
        for _ in range(SWARMS):
            self.swarms.append(Swarm(self.town.directory, self._removed))
        self.begun = time.monotonic()
        works = [self._set_policies, self._break_things, self._observe, self._tell]
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        threads += [
            threading.Thread(target=self._live, args=(number,), daemon=True)
            for number in range(self.people)
        ]
        for thread in threads:
            thread.start()
        time.sleep(self.plan.seconds)
        self.is_over = True
        for thread in threads:
            thread.join(10.0)
        for swarm in self.swarms:
            swarm.close()

    # --- what is done to them ---

    def _wait(self, until: float) -> bool:
        while not self.is_over and self.now() < until:
            time.sleep(min(0.2, max(0.0, until - self.now())))
        return not self.is_over

    def _set_policies(self) -> None:
        for rule in self.plan.rules:
            if not self._wait(rule.at):
                return
            limit = {} if rule.cap is None else {"max_users": rule.cap}
            sources = {} if rule.camera else {"allow_camera": False}
            with self._lock:
                set_state, room = self.town.sandbox.homeserver.set_state, room_id(rule.room)
                in_reactor(partial(set_state, room, LIMIT_EVENT, limit))
                in_reactor(partial(set_state, room, SOURCES_EVENT, sources))
                self.judge.policy(rule.room, Policy(self.now(), rule.cap, rule.camera))
            self.counts["policies"] += 1

    def _break_things(self) -> None:
        for fault in self.plan.faults:
            if not self._wait(fault.at):
                return
            self.counts[f"fault: {fault.kind}"] += 1
            begin = self.now()
            # It may last until it is mended, however long that takes this machine.
            with self._lock:
                self.judge.outage(begin, begin + 600.0)
                window = len(self.judge.windows) - 1
            self._break(fault)
            with self._lock:
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
            self._wait(self.now() + fault.seconds)
            guard.start()
        elif fault.kind == "pause Redis":
            town.redis.pause()
            self._wait(self.now() + fault.seconds)
            town.redis.go_on()
        elif fault.kind == "empty Redis":
            self._flush()
        elif fault.kind == "restart Redis":
            town.redis.kill()
            self._wait(self.now() + fault.seconds)
            town.redis.start()
        elif fault.kind == "restart LiveKit":
            town.livekit.process.kill()
            with self._lock:
                self.judge.forgot(self.now())
            self._wait(self.now() + fault.seconds)
            town.livekit.process.start()
        elif fault.kind.startswith("Synapse"):
            town.synapse.mood = fault.kind.split()[1]
            self._wait(self.now() + fault.seconds)
            town.synapse.mood = "well"
        else:
            town.relay.mode = fault.kind.split()[1]
            self._wait(self.now() + fault.seconds)
            town.relay.mode = "handed on"

    def _flush(self) -> None:
        import socket

        with socket.create_connection(("127.0.0.1", self.town.redis.port), 5.0) as sock:
            sock.sendall(b"FLUSHALL\r\n")
            sock.recv(64)

    # --- what LiveKit says ---

    def _observe(self) -> None:
        aliases = {
            number: alias_of(RoomId(room_id(number)), ROOM_SLOT)
            for number in range(self.town.rooms)
        }
        while self._wait(self.now() + 0.5):
            at = self.now()
            try:
                there = self.town.livekit.rooms()
                rooms = {
                    number: _people(self.town.livekit.participants(alias))
                    for number, alias in aliases.items()
                    if alias in there
                }
            except Exception:
                self.counts["looks that failed"] += 1
                continue
            with self._lock:
                self.judge.saw(Sight(at, rooms))
            self.counts["looks"] += 1

    def _removed(self, client: str) -> None:
        with self._lock:
            room, user = self.where.get(client, (-1, ""))
            self.counts["put out"] += 1
            if room >= 0:
                self.judge.removed(room, user, self.now())

    # --- people ---

    def _live(self, number: int) -> None:
        """Come and go; one in ten keeps a token for later, which gives him no right to come."""
        dice = Random(f"{self.plan.seed}:{number}")
        user, swarm = f"@p{number}:sandbox", self.swarms[number % SWARMS]
        self.town.sandbox.homeserver.openid[f"openid-p{number}"] = user
        is_hoarder = number % 10 == 9
        hoard: list[tuple[int, str, float]] = []
        self._wait(dice.uniform(0.0, 15.0))
        visit = 0
        while not self.is_over:
            visit += 1
            room = dice.randrange(self.town.rooms)
            name = f"{number}-{visit}"
            old = [each for each in hoard if self.now() - each[2] > HOLD + 10.0]
            if old:
                hoard.remove(old[0])
                self.counts["old tokens used"] += 1
                self._visit(swarm, name, None, user, old[0][0], old[0][1], dice)
                continue
            token = self._ask(number, room, dice)
            if token is None:
                self._wait(self.now() + dice.uniform(1.0, 4.0))
            elif is_hoarder:
                hoard.append((room, token, self.now()))
                self._wait(self.now() + dice.uniform(5.0, 15.0))
            else:
                self._visit(swarm, name, room, user, room, token, dice)

    def _visit(
        self,
        swarm: Swarm,
        name: str,
        known: int | None,
        user: str,
        room: int,
        token: str,
        dice: Random,
    ) -> None:
        if known is not None:
            self.where[name] = (room, user)
        url = self.town.livekit.url
        if swarm.do(name, "connect", 25.0, url=url, token=token, subscribe=False).get("ok"):
            self.counts["visits"] += 1
            end = self.now() + dice.uniform(6.0, 25.0)
            if dice.random() < 0.4:
                done = swarm.do(name, "publish", 40.0, kind="video", source="camera")
                self.counts["cameras" if done.get("ok") else "cameras refused"] += 1
            self._wait(end)
        self.where.pop(name, None)  # from here on it is he who leaves
        swarm.do(name, "disconnect", 15.0)

    def _ask(self, number: int, room: int, dice: Random) -> str | None:
        """Ask for a token as through a load balancer: of the next guard where one is not there."""
        body = json.dumps(
            {
                "room": room_id(room),
                "openid_token": {
                    "access_token": f"openid-p{number}",
                    "matrix_server_name": "sandbox",
                },
                "device_id": "D",
            }
        ).encode()
        urls = [f"http://127.0.0.1:{process.port}" for process in self.town.processes]
        dice.shuffle(urls)
        said = []
        for url in urls:
            try:
                answer = http("POST", f"{url}/sfu/get", body)
            except Exception as error:  # it is not there, or died with the request in its hands
                said.append(type(error).__name__)
                continue
            if answer.status == 200:
                with self._lock:
                    self.counts["tokens"] += 1
                    if number % 10 != 9:
                        self.judge.token(room, f"@p{number}:sandbox", self.now())
                token: str = answer.json()["jwt"]
                return token
            if answer.status == 403:
                self.counts["full"] += 1
                return None
            said.append(f"{answer.status} {answer.body[:80]!r}")
            break
        if NOT_MADE not in said[-1] and self._would_upstream(body):
            with self._lock:
                self.judge.failed(self.now(), "; ".join(said))
        else:
            self.counts["upstream would not"] += 1
        return None

    def _would_upstream(self, body: bytes) -> bool:
        try:
            return http("POST", f"{self.town.upstream}/sfu/get", body).status == 200
        except Exception:
            return False

    # --- what is told ---

    def _tell(self) -> None:
        while self._wait(self.now() + 10.0):
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
        invariants = ("cap", "tracks", "removed", "tokens")
        found = Counter(violation.invariant for violation in self.judge.violations)
        return {
            "seed": self.plan.seed,
            "seconds": self.plan.seconds,
            "people": self.people,
            "rooms": self.town.rooms,
            "guards": self.town.guards,
            "counts": dict(sorted(self.counts.items())),
            "worst seconds over a cap": round(self.judge.worst_over, 2),
            "worst seconds of a forbidden track": round(self.judge.worst_track, 2),
            "violations": {name: found[name] for name in invariants},
            "what": [asdict(violation) for violation in self.judge.violations[:50]],
            "faults": [asdict(fault) for fault in self.plan.faults],
        }


def _people(participants: list[dict[str, Any]]) -> dict[str, frozenset[str]]:
    people: dict[str, frozenset[str]] = {}
    for each in participants:
        user = str(each["identity"]).rpartition(":")[0]
        tracks = each.get("tracks", [])
        sources = frozenset(SOURCES.get(track.get("source", ""), "other") for track in tracks)
        people[user] = people.get(user, frozenset()) | sources
    return people


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
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    parser.add_argument("--observe", action="store_true")
    parser.add_argument("--calm", action="store_true")
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
        lambda: f"http://127.0.0.1:{dice.choice(town.processes).port}",
    )
    plan = make_plan(args.seed, args.seconds, args.rooms, args.guards, not args.calm)
    soak = Soak(town, plan, args.people)
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
