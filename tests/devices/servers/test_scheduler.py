"""Who gets which server, and when a server is asked whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any

import pytest

from harness.devices.servers import scheduler
from harness.devices.servers.scheduler import Offer, Request, Scheduler

Test = Callable[["Scene"], Coroutine[Any, Any, None]]


class Scene:
    """A scheduler, the ports of the servers that answer, and what was granted to whom."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.answering: set[int] = set()
        self.asked: list[int] = []
        self.granted: list[tuple[str, int]] = []

    async def answers(self, host: str, port: int) -> bool:
        self.asked.append(port)
        await asyncio.sleep(0)
        return port in self.answering

    def offer(self, port: int, key: str = "k", owner: str | None = None) -> None:
        self.scheduler.put(Offer(owner or f"server {port}", key, "host", port, f"word {port}"))

    def request(self, owner: str, priority: float = 1, key: str = "k") -> None:
        def grant(offer: Offer) -> None:
            self.granted.append((owner, offer.port))

        self.scheduler.request(Request(owner, key, priority, grant))

    def free(self, key: str = "k") -> int:
        return self.scheduler.summary(["k"])[key]["free"]

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


def scene(test: Test) -> Callable[[pytest.MonkeyPatch], None]:
    """A test in an event loop, where servers answer that the scene says answer."""

    @wraps(test)
    def run(monkeypatch: pytest.MonkeyPatch) -> None:
        async def play() -> Awaitable[None] | None:
            found = Scene()
            monkeypatch.setattr(scheduler, "answers", found.answers)
            return await test(found)

        asyncio.run(play())

    del run.__wrapped__  # type: ignore[attr-defined]
    return run


@scene
async def test_server_is_free_once_it_answers(it: Scene) -> None:
    it.answering = {1}
    it.offer(1)
    it.offer(2)
    assert it.free() == 0
    await it.settle()
    assert it.free() == 1
    assert it.scheduler.words("server 2") == [] and it.scheduler.words("server 1") == ["word 1"]
    assert it.scheduler.answers("server 1") and not it.scheduler.answers("server 2")


@scene
async def test_server_that_stopped_answering_is_not_given_away(it: Scene) -> None:
    it.answering = {1, 2}
    it.offer(1)
    it.offer(2)
    await it.settle()
    it.answering = {2}
    for offers in it.scheduler._offers.values():
        for offer in offers:
            offer.answered -= 60
    it.request("client")
    assert it.granted == []
    await it.settle()
    assert it.granted == [("client", 2)] and it.asked == [1, 2, 1, 2]
    assert not it.scheduler.answers("server 1") and it.free() == 0


@scene
async def test_server_that_has_just_answered_is_given_away_at_once(it: Scene) -> None:
    it.answering = {1}
    it.offer(1)
    await it.settle()
    it.request("client")
    assert it.granted == [("client", 1)] and it.asked == [1]
    assert it.scheduler.words("server 1") == []


@scene
async def test_requests_wait_by_priority_then_age(it: Scene) -> None:
    it.answering = {1, 2, 3}
    for owner, priority in (("old", 1), ("young", 1), ("urgent", 5)):
        it.request(owner, priority)
    it.request("other", 9, key="another")
    assert it.scheduler.summary([])["k"] == {"free": 0, "pending": 3}
    for port in (1, 2, 3):
        it.offer(port)
        await it.settle()
    assert it.granted == [("urgent", 1), ("old", 2), ("young", 3)]
    assert it.scheduler.requests("other") == 1 and it.scheduler.requests("old") == 0


@scene
async def test_what_is_forgotten_neither_gets_nor_gives(it: Scene) -> None:
    it.answering = {1, 2}
    it.request("gone")
    it.scheduler.forget("gone")
    it.offer(1)
    it.scheduler.forget("server 1")
    await it.settle()
    it.offer(2)
    await it.settle()
    assert it.granted == [] and it.free() == 1
    assert "k" not in it.scheduler._requests


@scene
async def test_owner_has_one_offer(it: Scene) -> None:
    it.answering = {1, 2}
    it.offer(1, owner="server")
    it.offer(2, owner="server")
    await it.settle()
    assert it.scheduler.words("server") == ["word 2"] and it.free() == 1


@scene
async def test_what_is_taken_back_while_it_is_asked_is_not_free(it: Scene) -> None:
    late = asyncio.Event()

    async def answers(host: str, port: int) -> bool:
        with suppress(asyncio.CancelledError):  # as `wait_for` does where the answer is there
            await late.wait()
        return port == 1

    scheduler.answers = answers  # type: ignore[assignment]
    for port in (1, 2):
        it.offer(port)
    await it.settle()
    for port in (1, 2):
        it.scheduler.forget(f"server {port}")
    late.set()
    await it.settle()
    assert it.free() == 0 and not it.scheduler.answers("server 1")
