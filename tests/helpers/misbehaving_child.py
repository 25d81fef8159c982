"""A module for `harness.processes.child.Child` to run: does to itself what it is told to."""

import ctypes
import os
import subprocess
import sys
import time

from harness.processes.child import Child, channel


def main() -> None:
    parent = channel()
    for message in parent:
        match message["do"]:
            case "echo":
                parent.send({"echo": message["value"], "parent": os.getppid()})
            case "print":
                print("printed to standard output")
                os.write(2, b"written to standard error\n")
                parent.send({"printed": True})
            case "segfault":
                ctypes.string_at(0)
            case "raise":
                raise RuntimeError("the last words")
            case "exit":
                sys.exit(3)
            case "hang":
                time.sleep(3600)
            case "grandchild":
                found = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
                parent.send({"pid": found.pid})
            case "child":
                with Child("misbehaving_child") as own:
                    answer = own.call({"do": "echo", "value": own.process_id}, 30)
                    parent.send(answer)
                    time.sleep(message["seconds"])
            case "look":
                names = {name: os.environ.get(name) for name in message["names"]}
                modules = [name for name in message["modules"] if name in sys.modules]
                parent.send({"environment": names, "modules": modules, "folder": os.getcwd()})
            case "fork":
                held = os.urandom(message["megabytes"] << 20)
                if os.fork() == 0:
                    time.sleep(message["seconds"])
                    os._exit(0)
                os.wait()
                parent.send({"held": len(held)})
            case "eat":
                eaten = []
                while True:
                    eaten.append(bytearray(20_000_000))
                    time.sleep(0.005)


if __name__ == "__main__":
    main()
