"""A server whose sessions misbehave where a kernel is timed: `python -m misbehaving_server KEY
TRACKER FAULT`. The fault is `none`, `crash`, of the kernels of every fourth slot, `hang`, or
`stock`: TVM's own server."""

import ctypes
import sys
import time

from harness.compiler.lean_import import lean_import
from harness.devices.servers.listening import listening_socket
from harness.devices.servers.serving import run_server
from harness.devices.servers.tracker import Address

with lean_import():
    import tvm_ffi
    from tvm.rpc import server as tvm_server

_TIMED = "runtime.RPCTimeEvaluator"


def main() -> None:
    key, tracker, fault = sys.argv[1:]
    serve_loop = tvm_server._serve_loop

    def misbehave(*session: object) -> None:
        time_kernel = tvm_ffi.get_global_func(_TIMED)

        def timed(module: object, name: str, *rest: object) -> object:
            if fault == "crash" and int(name.removeprefix("candidate")) % 4 == 3:
                ctypes.string_at(0)
            while fault == "hang":
                time.sleep(1)
            return time_kernel(module, name, *rest)

        tvm_ffi.register_global_func(_TIMED, timed, override=True)
        tvm_ffi.register_global_func("testing.crash", lambda: ctypes.string_at(0))
        tvm_ffi.register_global_func("testing.hang", lambda: time.sleep(3600))
        serve_loop(*session)

    address = Address.parse(tracker)
    if fault == "stock":
        listening = listening_socket(Address(host="127.0.0.1", port=9500), 100)
        port = listening.getsockname()[1]
        tvm_server._listen_loop(listening, port, key, (address.host, address.port), None, None)
    tvm_server._serve_loop = misbehave
    run_server(key, address, "127.0.0.1", 1, print)


if __name__ == "__main__":
    main()
