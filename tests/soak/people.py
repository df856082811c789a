"""Honest people: they come and go. One in ten keeps a token for later, which gives no right."""

from random import Random

from attrs import define

from tests.soak.judge import HOLD
from tests.soak.scene import Scene, request
from tests.soak.swarm import Swarm
from tests.soak.town import room_id


@define(eq=False)
class Person:
    """One of them."""

    scene: Scene
    number: int
    swarm: Swarm
    dice: Random

    @property
    def user(self) -> str:
        """Their user id."""
        return f"@p{self.number}:sandbox"

    @property
    def keeps_tokens(self) -> bool:
        """Whether this is one of those who keep tokens."""
        return self.number % 10 == 9

    def live(self) -> None:
        """Come and go."""
        scene, dice = self.scene, self.dice
        scene.town.admit(f"p{self.number}")
        drawer: list[tuple[int, str, float]] = []
        scene.wait(dice.uniform(0.0, 15.0))
        visit = 0
        while not scene.is_over:
            visit += 1
            room = dice.randrange(scene.town.rooms)
            name = f"{self.number}-{visit}"
            old = [each for each in drawer if scene.now() - each[2] > HOLD + 10.0]
            if old:
                drawer.remove(old[0])
                scene.counts["old tokens used"] += 1
                self._visit(name, False, old[0][0], old[0][1])
                continue
            token = self._ask(room)
            if token is None:
                scene.wait(scene.now() + dice.uniform(1.0, 4.0))
            elif self.keeps_tokens:
                drawer.append((room, token, scene.now()))
                scene.wait(scene.now() + dice.uniform(5.0, 15.0))
            else:
                self._visit(name, True, room, token)

    def _visit(self, name: str, is_known: bool, room: int, token: str) -> None:
        scene, swarm = self.scene, self.swarm
        if is_known:
            scene.where[name] = (room, self.user)
        url = scene.town.livekit.url
        if swarm.do(name, "connect", 25.0, url=url, token=token, subscribe=False).get("ok"):
            scene.counts["visits"] += 1
            end = scene.now() + self.dice.uniform(6.0, 25.0)
            if self.dice.random() < 0.4:
                done = swarm.do(name, "publish", 40.0, kind="video", source="camera")
                scene.counts["cameras" if done.get("ok") else "cameras refused"] += 1
            scene.wait(end)
        scene.where.pop(name, None)  # from here on it is they who leave
        swarm.do(name, "disconnect", 15.0)

    def _ask(self, room: int) -> str | None:
        scene, begun = self.scene, self.scene.now()
        body = request(f"p{self.number}", room_id(room))
        asked = scene.ask("/sfu/get", body, f"198.51.100.{self.number}", self.dice)
        now = scene.now()
        if asked.status in (200, 403):
            with scene.lock:
                self._judge(room, asked.status, begun, now)
            return asked.token or None
        if scene.would_upstream(asked, "/sfu/get", body):
            with scene.lock:
                scene.judge.failed(now, asked.said)
        else:
            scene.counts["upstream would not"] += 1
        return None

    def _judge(self, room: int, status: int, begun: float, now: float) -> None:
        judge, counts = self.scene.judge, self.scene.counts
        judge.answered(begun, now)
        if status == 403:
            counts["full"] += 1
            judge.refused(room, self.user, begun, now)
            return
        counts["tokens"] += 1
        if self.keeps_tokens:
            judge.given(room, self.user, now)
        else:
            judge.token(room, self.user, now)
