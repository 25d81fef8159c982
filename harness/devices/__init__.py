"""Where compiled code runs: on this machine's processor, on its graphics processor, or nowhere.

The device of a target decides what its records are: what ran was `measured`, what was compiled
only is `static`.
"""

from harness.devices.placement import child_environment, placed, require_runnable

__all__ = ["child_environment", "placed", "require_runnable"]
