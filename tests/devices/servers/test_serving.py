"""A server takes the next client whatever became of the one before."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from rpc_servers import SEARCH_PATH, Devices, until

from harness.devices.servers.listening import exposure, listening_socket, require_reachable
from harness.devices.servers.tracker import Address, Tracker, TrackerLost
from harness.errors import InputError
from harness.processes.child import Child, ChildLost

SERVED = "served"


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    with Devices() as found:
        found.serve(SERVED)
        yield found


def client(devices: Devices) -> Child:
    """A process with a session on the one server."""
    child = Child("rpc_client", environment={"PYTHONPATH": SEARCH_PATH})
    with Tracker(devices.address) as tracker:
        tracker.request(SERVED)
        grant = tracker.granted()
    child.send({"host": grant.address.host, "port": grant.address.port, "word": grant.word})
    return child


@pytest.mark.slow
def test_tracker_lists_servers_by_key(devices: Devices) -> None:
    with Tracker(devices.address) as tracker:
        found = [server for server in tracker.servers() if server.key == SERVED]
        assert len(found) == 1 and found[0].address.host == "127.0.0.1"
        assert tracker.free()[SERVED] == 1


def test_command_lists_the_servers_of_a_tracker(devices: Devices) -> None:
    command = [sys.executable, "-m", "harness.cli.main", "devices", "list"]
    done = subprocess.run(
        [*command, "--tracker", str(devices.address)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"rpc {SERVED}" in done.stdout and "a server at 127.0.0.1:" in done.stdout


@pytest.mark.slow
def test_session_says_what_machine_it_is(devices: Devices) -> None:
    with client(devices) as child:
        description = child.receive(30)["description"]
    assert '"threads": 1' in description and '"machine"' in description
    until(lambda: devices.free(SERVED) == 1)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["crash", "hang", "leave"])
def test_server_takes_the_next_client(devices: Devices, end: str) -> None:
    with client(devices) as child:
        child.receive(30)
        assert devices.free(SERVED) == 0
        child.send({"do": end})
        if end == "hang":
            with pytest.raises(ChildLost, match="took more than"):
                child.receive(0.5)  # which kills the client, while its kernel runs on
        else:
            with pytest.raises(ChildLost):
                child.receive(30)
    until(lambda: devices.free(SERVED) == 1)


def test_dead_tracker_is_one_line_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = Address(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(TrackerLost, match=r"refused.*start it: layeredge devices tracker"):
            Tracker(address)


def test_what_is_no_tracker_is_told_from_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TrackerLost, match="something else listens there"):
            Tracker(Address(host="127.0.0.1", port=listening.getsockname()[1]))
        thread.join()


@pytest.mark.parametrize("text", ["", "9190", "host", "host:", "host:0", "host:65536", "a b:1"])
def test_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected HOST:PORT"):
        Address.parse(text)


def test_address_is_a_host_and_a_port() -> None:
    assert Address.parse("board.local:9190") == Address(host="board.local", port=9190)
    assert Address.parse("[::1]:9190") == Address(host="::1", port=9190)


def test_other_machines_are_let_in_only_when_asked_for() -> None:
    assert exposure("127.0.0.1", exposed=False) == exposure("localhost", exposed=False) == ""
    with pytest.raises(InputError, match="add --expose"):
        exposure("0.0.0.0", exposed=False)
    assert "can run any code" in exposure("0.0.0.0", exposed=True)


def test_server_that_clients_could_not_reach_is_refused() -> None:
    elsewhere = Address(host="192.0.2.1", port=9190)
    with pytest.raises(InputError, match=r"--host 0\.0\.0\.0 --expose"):
        require_reachable("127.0.0.1", elsewhere)
    require_reachable("0.0.0.0", elsewhere)


def test_first_free_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(InputError, match="in use"):
            listening_socket(address, 1)
        with listening_socket(address, 50) as found:
            assert found.getsockname()[1] > address.port
