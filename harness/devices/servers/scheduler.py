"""Gives servers to the clients that ask a tracker for one: none that does not answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from harness.devices.servers.handshake import answers

_FRESH_SECONDS = 2.0
"""A server that answered so recently is not asked again before it is given away."""

Owner = Hashable
"""The connection that an offer or a request came over."""


@dataclass(eq=False)
class Offer:
    """A server that is free, and the word by which it knows its client."""

    owner: Owner
    key: str
    host: str
    port: int
    word: str
    answered: float = float("-inf")
    """When it last answered, in seconds of the event loop's clock."""
    asking: asyncio.Task[None] | None = None


@dataclass(eq=False)
class Request:
    """A client that waits for a server. Those of higher `priority` are served first."""

    owner: Owner
    key: str
    priority: float
    grant: Callable[[Offer], None]


class Scheduler:
    """The offers and requests of all keys. An owner has at most one offer at a time."""

    def __init__(self) -> None:
        self._offers: dict[str, list[Offer]] = {}
        self._requests: dict[str, list[Request]] = {}
        self._waiting: Counter[Owner] = Counter()
        self._answering: set[Owner] = set()

    def put(self, offer: Offer) -> None:
        """Offer a server, instead of its owner's earlier offer, once it answers."""
        self._withdraw(offer.owner)
        self._offers.setdefault(offer.key, []).append(offer)
        self._ask(offer)

    def request(self, request: Request) -> None:
        """Grant a request as soon as there is a server for it."""
        self._waiting[request.owner] += 1
        waiting = self._requests.setdefault(request.key, [])
        waiting.append(request)
        waiting.sort(key=lambda each: -each.priority)  # and by age: sorting is stable
        self._match(request.key)

    def forget(self, owner: Owner) -> None:
        """Drop an owner's offers and requests."""
        self._withdraw(owner)
        self._answering.discard(owner)
        if not self._waiting.pop(owner, 0):
            return
        for key, waiting in list(self._requests.items()):
            waiting[:] = [each for each in waiting if each.owner != owner]
            if not waiting:
                del self._requests[key]

    def words(self, owner: Owner) -> list[str]:
        """The words of an owner's servers that no client was told yet."""
        return [offer.word for offer in self._all_offers() if offer.owner == owner]

    def requests(self, owner: Owner) -> int:
        """How many servers an owner waits for."""
        return self._waiting[owner]

    def answers(self, owner: Owner) -> bool:
        """Whether the server of an owner answered when it was last asked."""
        return owner in self._answering

    def summary(self, keys: Iterable[str]) -> dict[str, dict[str, int]]:
        """How many servers of each key are free and answer, and how many requests wait; of `keys`
        even where there are none."""
        free = dict.fromkeys([*keys, *self._requests], 0)
        for offer in self._all_offers():
            if self.answers(offer.owner):
                free[offer.key] = free.get(offer.key, 0) + 1
        return {
            key: {"free": count, "pending": len(self._requests.get(key, ()))}
            for key, count in free.items()
        }

    def _all_offers(self) -> list[Offer]:
        return [offer for offers in self._offers.values() for offer in offers]

    def _withdraw(self, owner: Owner) -> None:
        for offer in self._all_offers():
            if offer.owner == owner:
                self._take_back(offer)

    def _take_back(self, offer: Offer) -> None:
        offers = self._offers[offer.key]
        offers.remove(offer)
        if not offers:
            del self._offers[offer.key]
        if offer.asking is not None:
            offer.asking.cancel()

    def _match(self, key: str) -> None:
        """Grant the requests for a key that can be granted; ask the servers that may have stopped
        answering."""
        for request in list(self._requests.get(key, ())):
            offers = self._offers.get(key, ())
            recent = asyncio.get_running_loop().time() - _FRESH_SECONDS
            offer = next((each for each in offers if each.answered >= recent), None)
            if offer is None:
                for each in offers:
                    self._ask(each)
                return
            self._take_back(offer)
            self._requests[key].remove(request)
            self._waiting[request.owner] -= 1
            request.grant(offer)

    def _ask(self, offer: Offer) -> None:
        if offer.asking is None:
            offer.asking = asyncio.get_running_loop().create_task(self._asked(offer))

    async def _asked(self, offer: Offer) -> None:
        """Ask a server whether it answers. One that does not is offered again when it says so."""
        answered = await answers(offer.host, offer.port)
        offer.asking = None
        if offer not in self._offers.get(offer.key, ()):
            return  # it was taken back while the answer came in
        if answered:
            offer.answered = asyncio.get_running_loop().time()
            self._answering.add(offer.owner)
            self._match(offer.key)
        else:
            self._answering.discard(offer.owner)
            self._take_back(offer)
