"""A tracker whose clients may say anything, and that speaks as TVM's."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpc_servers import Devices, until

from harness.compiler.lean_import import lean_import
from harness.devices.servers.tracker import Address, Tracker, TrackerLost
from harness.devices.servers.tracker_protocol import GREETING, Code, packed, require_key
from harness.errors import InputError

with lean_import():
    from tvm import rpc


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    with Devices() as found:
        yield found


class Peer:
    """A connection to a tracker that has greeted it."""

    def __init__(self, devices: Devices) -> None:
        address = (devices.address.host, devices.address.port)
        self.socket = socket.create_connection(address, 4)
        self.socket.sendall(GREETING)
        assert self.received(4) == GREETING

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.socket.close()

    def received(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self.socket.recv(size - len(data))):
            data += part
        return data

    def answer(self, *message: Any) -> Any:
        """What the tracker answers; None where it closes the connection."""
        self.socket.sendall(packed(message))
        head = self.received(4)
        return json.loads(self.received(*struct.unpack("<i", head))) if head else None


def answers(devices: Devices) -> bool:
    with Peer(devices) as peer:
        return bool(peer.answer(Code.PING) == Code.SUCCESS)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<i", -1),
        struct.pack("<i", 0),
        struct.pack("<i", 2**31 - 1),
        struct.pack("<i", 4) + b"\xff\xfe\xfd\xfc",
        struct.pack("<i", 60_000) + b"[" * 60_000,
        packed({}),
        packed([]),
        packed([99]),
        packed([Code.PUT, "k", [0, "k:0.5"], None]),
        packed([Code.PUT, ["k"], [9, "k:0.5"], None]),
        packed([Code.REQUEST, "", "", 1]),
        packed([Code.REQUEST, "k", "", "high"]),
        packed([Code.UPDATE_INFO, {"key": "server:k", "addr": []}]),
        packed([Code.REQUEST, "k", "", 1]) * 40,
    ],
)
def test_what_is_no_message_costs_its_connection(devices: Devices, data: bytes) -> None:
    with Peer(devices) as peer:
        peer.socket.sendall(data)
        assert peer.received(1) == b""
    assert answers(devices)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    message=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    | st.lists(st.integers(-1, 8), min_size=1).flatmap(
        lambda codes: st.lists(st.text() | st.integers()).map(lambda rest: [*codes[:1], *rest])
    ),
    ending=st.binary(max_size=3),
)
def test_no_message_ends_the_tracker(devices: Devices, message: Any, ending: bytes) -> None:
    try:
        data = packed(message)
    except UnicodeEncodeError:  # half of a surrogate pair
        data = json.dumps(message).encode()
    with Peer(devices) as peer:
        peer.socket.sendall(data + ending)
    assert answers(devices)


def test_nobody_stops_the_tracker(devices: Devices) -> None:
    with Peer(devices) as peer:
        assert peer.answer(Code.STOP, "") == Code.FAIL
    assert answers(devices)


def test_held_connections_keep_nobody_out(devices: Devices) -> None:
    held = [Peer(devices) for _ in range(600)]
    assert answers(devices)
    assert held[0].received(1) == b"", "the one that was silent for longest is closed"
    assert held[-1].answer(Code.PING) == Code.SUCCESS
    for peer in held:
        peer.socket.close()


class Serving:
    """A server that answers every client that its word is not the expected one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(struct.pack("<i", 0xFF271 + 2))

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def offered(peer: Peer, key: str, port: int, word: str = "w") -> None:
    info = {"key": f"server:{key}", "addr": [None, port]}
    assert peer.answer(Code.UPDATE_INFO, info) == Code.SUCCESS
    assert peer.answer(Code.PUT, key, [port, word], None) == Code.SUCCESS


def test_peer_that_reads_no_answers_is_closed(devices: Devices) -> None:
    serving = Serving()
    with Peer(devices) as peer, pytest.raises(OSError):
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        offered(peer, "unread", serving.port, "w" * 500)  # makes the answers long
        for _ in range(1000):
            peer.socket.sendall(packed([Code.GET_PENDING_MATCHKEYS]) * 1000)
    serving.close()


def test_only_what_answers_is_offered(devices: Devices) -> None:
    serving = Serving()
    with Peer(devices) as dead, Peer(devices) as alive, Tracker(devices.address) as client:
        offered(dead, "some", 1, "dead")
        client.request("some")
        offered(alive, "some", serving.port, "alive")
        assert client.granted().word == "alive"
        assert [server.address.port for server in client.servers()] == [serving.port]
        assert alive.answer(Code.GET_PENDING_MATCHKEYS) == []
    serving.close()


def test_offer_replaces_the_one_before(devices: Devices) -> None:
    serving = Serving()
    with Peer(devices) as peer:
        offered(peer, "twice", serving.port, "first")
        offered(peer, "twice", serving.port, "second")
        assert peer.answer(Code.GET_PENDING_MATCHKEYS) == ["second"]
        until(lambda: devices.free("twice") == 1)
    serving.close()


def test_client_that_is_gone_gets_no_server(devices: Devices) -> None:
    serving = Serving()
    with Peer(devices) as gone, Tracker(devices.address) as client, Peer(devices) as peer:
        gone.socket.sendall(packed([Code.REQUEST, "wanted", "", 9]))
        until(lambda: client.free().get("wanted") == 0)
        gone.socket.close()
        until(lambda: "wanted" not in client.free())
        client.request("wanted")
        offered(peer, "wanted", serving.port)
        assert client.granted().word == "w"
    serving.close()


def test_higher_priority_is_served_first(devices: Devices) -> None:
    serving = Serving()
    with (
        Peer(devices) as low,
        Peer(devices) as high,
        Peer(devices) as peer,
        Tracker(devices.address) as client,
    ):
        for waiting, priority in ((low, 1), (high, 2)):
            waiting.socket.sendall(packed([Code.REQUEST, "ranked", "", priority]))
        until(lambda: client.free().get("ranked") == 0)
        offered(peer, "ranked", serving.port)
        assert high.received(4)
        low.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            low.received(1)
    serving.close()


@pytest.mark.slow
def test_tracker_serves_tvms_own_servers_and_clients(devices: Devices) -> None:
    devices.serve("stock", "stock")
    tracker = rpc.connect_tracker(devices.address.host, devices.address.port)
    assert "server:stock" in tracker.text_summary()
    for _ in range(2):
        session = tracker.request("stock", session_timeout=10)
        assert session.cpu(0).exist
        del session
    tracker.close()


def _answering(answer: bytes) -> Address:
    """Where something answers with some bytes, and says no more."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listening.accept()
        with connection, listening:
            connection.sendall(answer)
            while connection.recv(1000):
                pass

    threading.Thread(target=run, daemon=True).start()
    return Address(host="127.0.0.1", port=listening.getsockname()[1])


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack("<i", 2**31 - 1),
        packed([0]),
        packed([Code.FAIL, {}]),
        packed([Code.SUCCESS, {"server_info": []}]),
        packed({}),
    ],
)
def test_answer_that_is_none_is_one_line(answer: bytes) -> None:
    with Tracker(_answering(GREETING + answer)) as tracker, pytest.raises(TrackerLost) as failure:
        tracker.servers()
    assert "something else listens there" in str(failure.value)


def test_nonsense_of_one_server_hides_no_other() -> None:
    sound = {"key": "server:a", "addr": ["127.0.0.1", 9091]}
    infos = [{}, {"key": 5}, {"key": "server:b", "addr": [None]}, 7, sound]
    summary = packed([Code.SUCCESS, {"queue_info": {}, "server_info": infos}])
    with Tracker(_answering(GREETING + summary)) as tracker:
        assert [server.key for server in tracker.servers()] == ["a"]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 129, "é"])
def test_key_that_no_client_could_ask_for_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="is no key of servers"):
        require_key(key)


@pytest.mark.slow
def test_server_of_no_key_is_refused() -> None:
    command = [sys.executable, "-m", "harness.cli.main", "devices", "serve", "a b"]
    done = subprocess.run([*command, "--tracker", "127.0.0.1:1"], capture_output=True, text=True)
    assert done.returncode == 2 and "'a b' is no key of servers" in done.stderr
