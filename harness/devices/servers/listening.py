"""Listening addresses: loopback, unless the user asks for more."""

from __future__ import annotations

import ipaddress
import socket

from harness.devices.servers.tracker import Address
from harness.errors import InputError

_KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def exposure(host: str, *, exposed: bool) -> str:
    """A warning for a person who listens at `host`; none for loopback. Raises
    InputError where others reach it and that was not asked for."""
    if _is_loopback(host):
        return ""
    if not exposed:
        raise InputError(
            f"at {host} other machines reach it, and each of them can run any code here; add "
            "--expose if that is intended, or listen at 127.0.0.1"
        )
    return f"every machine that reaches this port at {host} can run any code on this machine"


def require_reachable(host: str, tracker: Address) -> None:
    """Raise InputError where a server that listens at `host` is not reached by the clients of a
    tracker, which are told the address that the tracker sees the server at."""
    if _is_loopback(host) and not _is_loopback(tracker.host):
        raise InputError(
            f"clients of the tracker at {tracker} do not reach a server that listens at {host}; "
            "add --host 0.0.0.0 --expose"
        )


def listening_socket(address: Address, ports: int) -> socket.socket:
    """A socket that listens at the first free one of some ports. Raises InputError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    why = ""
    for port in range(address.port, min(address.port + ports, 65536)):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address.host, port))
            listening.listen()
        except OSError as error:
            listening.close()
            why = error.strerror or str(error)
        else:
            return listening
    raise InputError(f"nothing can listen at {address}: {why}; name another --host or --port")


def keep_alive(connection: socket.socket) -> None:
    """Have a peer whose machine is gone noticed after less than a minute."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
