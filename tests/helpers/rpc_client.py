"""A client of a server, run by `harness.processes.child`: ends its session in several ways."""

import sys

from harness.compiler.lean_import import lean_import
from harness.devices.servers.tracker import DESCRIPTION
from harness.processes.child import channel

with lean_import():
    from tvm import rpc


def main() -> None:
    parent = channel()
    messages = iter(parent)
    to = next(messages)
    session = rpc.connect(to["host"], to["port"], to["word"])
    parent.send({"description": session.get_function(DESCRIPTION)()})
    match next(messages)["do"]:
        case "crash":
            session.get_function("testing.crash")()
        case "hang":
            session.get_function("testing.hang")()
        case "leave":
            sys.exit()


if __name__ == "__main__":
    main()
