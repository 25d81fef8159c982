"""PoCL, by which this machine's processor runs OpenCL, where it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

INSTALL = "on Debian or Ubuntu: apt install pocl-opencl-icd; pip install 'layeredge[opencl]'"
_NAME = "Portable Computing Language"


@cache
def opencl_processor() -> Any | None:
    """This machine's processor as a `pyopencl.Device`; None without PoCL or pyopencl."""
    if find_spec("pyopencl") is None:
        return None
    import pyopencl

    try:
        platforms = [each for each in pyopencl.get_platforms() if each.name == _NAME]
    except pyopencl.LogicError:  # there is no platform at all
        return None
    devices = [each for platform in platforms for each in platform.get_devices()]
    return next((each for each in devices if each.type == pyopencl.device_type.CPU), None)


def pocl_version() -> str | None:
    """Its name and version, such as `PoCL 3.1`; None where it is not installed."""
    processor = opencl_processor()
    # A platform's version is "OpenCL 3.0 PoCL 3.1+debian  Linux, ...".
    return None if processor is None else " ".join(processor.platform.version.split()[2:4])
