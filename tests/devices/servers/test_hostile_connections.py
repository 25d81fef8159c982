"""A hostile connection to a tracker or a server costs that connection only."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_peers import HostilePeers
from rpc_servers import Devices, until
from small_kernels import task

from harness.compiler.api import tvm
from harness.devices.servers.tracker import Servers, Tracker
from harness.specs.sweep import Tune
from harness.tuning.database import TuningDatabase
from harness.tuning.servers.measurer import RemoteMeasurer
from harness.tuning.tuner import Tuner

KEY = "bothered"
TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 1})
CONNECTIONS = 500
TRIALS = 8
MAGIC = 0xFF271


def _greeting(key: bytes) -> bytes:
    return struct.pack("<ii", MAGIC, len(key)) + key


class Bothered:
    """A tracker and its one server."""

    def __init__(self, devices: Devices) -> None:
        self.devices = devices
        self.server: subprocess.Popen[bytes] = devices.serve(KEY)
        with Tracker(devices.address) as tracker:
            (found,) = tracker.servers()
        self.address = found.address

    def session(self, tracker: Tracker, seconds: float = 4.0) -> socket.socket:
        """A client that was let in."""
        tracker.request(KEY)
        grant = tracker.granted()
        assert grant.address == self.address
        connection = socket.create_connection((grant.address.host, grant.address.port), seconds)
        connection.sendall(_greeting(f"client:{grant.word}".encode()))
        assert connection.recv(4) == struct.pack("<i", MAGIC)
        return connection


@pytest.fixture(scope="module")
def bothered() -> Iterator[Bothered]:
    with Devices() as devices:
        yield Bothered(devices)


@pytest.mark.slow
def test_tuning_succeeds_among_hostile_connections(bothered: Bothered, tmp_path: Path) -> None:
    tracker, server = bothered.devices.address, bothered.address
    with HostilePeers(20, KEY) as peers, TuningDatabase(tmp_path) as database:

        def bother(_: object) -> None:
            peers.to_tracker(tracker)
            peers.to_server(server)

        while peers.made < CONNECTIONS:
            bother(None)
        measurer = RemoteMeasurer(TARGET, KEY, Servers(tracker=tracker), 1, 30.0, 5.0)
        tune = Tune(trials=TRIALS)
        Tuner([task(64)], TARGET, 1, database, tune, 0, bother, measurer=measurer).run()
        (spent,) = database.spent().values()
        assert peers.made >= CONNECTIONS + TRIALS
        assert (spent.trials, spent.failed_trials) == (TRIALS, 0)
        until(lambda: bothered.devices.free(KEY) == 1)
        assert bothered.devices.known(KEY) == 1, "what does not answer is not offered"
    assert bothered.server.poll() is None


def test_held_connections_keep_no_client_waiting(bothered: Bothered) -> None:
    held = [
        socket.create_connection((bothered.address.host, bothered.address.port)) for _ in range(100)
    ]
    with Tracker(bothered.devices.address) as tracker:
        bothered.session(tracker, seconds=2).close()
    for connection in held:
        connection.close()
    until(lambda: bothered.devices.free(KEY) == 1)


@pytest.mark.parametrize("data", [_greeting(b""), _greeting(b" "), struct.pack("<ii", MAGIC, -1)])
def test_key_that_is_none_costs_its_connection(bothered: Bothered, data: bytes) -> None:
    with socket.create_connection((bothered.address.host, bothered.address.port), 4) as connection:
        connection.sendall(data)
        assert connection.recv(4) == b""
    assert bothered.server.poll() is None


def test_wrong_word_is_answered(bothered: Bothered) -> None:
    with socket.create_connection((bothered.address.host, bothered.address.port), 4) as connection:
        connection.sendall(_greeting(b"client:bothered:0.5"))
        assert connection.recv(4) == struct.pack("<i", MAGIC + 2)


@pytest.mark.slow
def test_client_that_is_let_in_and_says_half_a_message_is_given_up(bothered: Bothered) -> None:
    with Tracker(bothered.devices.address) as tracker, bothered.session(tracker) as client:
        client.sendall(struct.pack("<Q", 1000) + b"half")
        assert bothered.devices.free(KEY) == 0
        until(lambda: bothered.devices.free(KEY) == 1)


@pytest.mark.parametrize("data", [b"\xff" * 100, struct.pack("<Q", 100) + bytes(100)])
def test_garbage_of_a_client_that_is_let_in_costs_its_session(
    bothered: Bothered, data: bytes
) -> None:
    with Tracker(bothered.devices.address) as tracker, bothered.session(tracker) as client:
        client.sendall(data)
        until(lambda: bothered.devices.free(KEY) == 1)
    assert bothered.server.poll() is None
