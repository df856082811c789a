"""The status page's stream: viewers cost little, and none holds up another."""

from lotus_guard.web.status.stream import HEARTBEAT_SECONDS, MOST_VIEWERS, STUCK_SECONDS
from tests.web.status.watched import EPOCH, Watched, room


def test_a_heartbeat_is_a_comment_and_an_event(watched: Watched) -> None:
    page = watched.open()
    page.told()
    watched.tick(int(HEARTBEAT_SECONDS) - 1)
    assert page.body() == ""
    watched.tick()
    assert page.body().startswith(": ")
    assert page.told() == [("beat", {"now": EPOCH + HEARTBEAT_SECONDS})]


def test_one_look_a_tick_for_all_and_none_for_nobody(watched: Watched) -> None:
    watched.tick(5)
    assert watched.looks == 0
    pages = [watched.open() for _ in range(5)]
    assert watched.looks == 1
    watched.tick(3)
    assert watched.looks == 4
    for page in pages:
        page.leave()
    watched.tick(5)
    assert watched.looks == 4
    assert watched.clock.getDelayedCalls() == []


def test_who_comes_later_is_told_what_the_others_know(watched: Watched) -> None:
    first = watched.open()
    watched.rooms = [room(7)]
    later = watched.open()
    watched.tick()
    for page in (first, later):
        events = page.told()
        assert [name for name, _ in events] == ["hello", "rooms"]
        assert events[1][1] == {"changed": [room(7)], "gone": ["!1:s", "!2:s"]}


def test_the_seventeenth_is_told_why(watched: Watched) -> None:
    pages = [watched.open() for _ in range(MOST_VIEWERS)]
    refused = watched.open()
    assert refused.head()[0] == 503
    assert "Close one of them" in refused.body()
    pages[0].leave()
    assert watched.open().head()[0] == 200


def test_who_does_not_read_is_skipped_then_told_everything(watched: Watched) -> None:
    slow, quick = watched.open(), watched.open()
    slow.told(), quick.told()
    slow.stop_reading()
    for people in range(10):
        watched.rooms = [room(1, people=people)]
        watched.tick()
    assert len(quick.told()) == 10
    assert slow.body() == ""
    slow.read_on()
    watched.tick()
    ((name, hello),) = slow.told()
    assert (name, hello["rooms"]) == ("hello", watched.rooms)
    assert quick.told() == []


def test_who_missed_nothing_is_not_told_everything_again(watched: Watched) -> None:
    page = watched.open()
    page.told()
    page.stop_reading()
    watched.tick(3)
    page.read_on()
    watched.tick()
    assert page.told() == []


def test_who_never_reads_is_dropped(watched: Watched) -> None:
    page = watched.open()
    page.stop_reading()
    watched.tick(int(STUCK_SECONDS) - 1)
    assert not page.transport.aborted
    page.read_on()
    page.stop_reading()
    watched.tick(int(STUCK_SECONDS))
    assert page.transport.aborted
    page.leave()
    assert watched.clock.getDelayedCalls() == []


def test_a_look_that_fails_is_said_once_and_survived(watched: Watched) -> None:
    page = watched.open()
    page.told()
    watched.broken = True
    watched.tick(3)
    assert [name for name, _ in page.told()] == ["trouble"]
    later = watched.open()
    assert [name for name, _ in later.told()] == ["trouble"]
    watched.broken = False
    watched.tick()
    assert [name for name, _ in page.told()] == ["beat"]
    assert [name for name, _ in later.told()] == ["hello"]


def test_who_comes_in_trouble_is_told_all_when_it_is_over(watched: Watched) -> None:
    watched.broken = True
    page = watched.open()
    watched.tick(2)
    assert [name for name, _ in page.told()] == ["trouble"]
    watched.broken = False
    watched.rooms = [room(4)]
    watched.tick()
    ((name, hello),) = page.told()
    assert (name, hello["rooms"]) == ("hello", watched.rooms)


def test_hostile_text_stays_within_its_event(watched: Watched) -> None:
    name = "\n\ndata: x\n\nevent: hello\r\u2028\x00\ud800</script>"
    watched.rooms = [room(1, name=name)]
    page = watched.open()
    ((_, hello),) = page.told()
    assert hello["rooms"][0]["name"] == name


def test_closing_ends_the_streams_and_takes_no_more(watched: Watched) -> None:
    pages = [watched.open() for _ in range(3)]
    watched.stream.close()
    assert all(page.transport.disconnecting for page in pages)
    assert watched.clock.getDelayedCalls() == []
    refused = watched.open()
    assert (refused.head()[0], refused.body()) == (503, "The guard is about to stop.\n")
