"""Hardware descriptions, as in `targets/*.yaml`: the hardware's properties, and the graph rewrites
that it asks for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.specs.documents import MOST_THREADS, Amount, Count, Frozen, Name

_LIMITS = ("max_threads_per_block", "max_shared_memory_per_block", "thread_warp_size")
"""Without these MetaSchedule cannot tell which schedules a graphics processor takes."""


class TvmTarget(Frozen):
    """The part of a hardware description that is handed to TVM; the keys are TVM's own."""

    kind: Literal["llvm", "cuda"] = "llvm"
    """`llvm` for processors, `cuda` for graphics processors."""
    mcpu: str | None = None
    """Processors: LLVM's name, as `znver4` or `cortex-a72`."""
    mtriple: str | None = None
    """Processors: LLVM's triple, where it is not this machine's."""
    mattr: tuple[str, ...] = ()
    """Processors: features with their sign, as `+avx2`, beside those of `mcpu`."""
    num_cores: Annotated[int, Field(ge=1, le=MOST_THREADS, alias="num-cores")] = 1
    """Processors: how many threads a kernel has."""
    arch: Annotated[str, Field(pattern=r"^sm_\d+[af]?$")] | None = None
    """Graphics processors: the architecture, as `sm_80`."""
    max_threads_per_block: Count | None = None
    """Graphics processors: most threads of a block."""
    max_shared_memory_per_block: Count | None = None
    """Graphics processors: most shared memory of a block, in bytes."""
    registers_per_block: Count | None = None
    """Graphics processors: registers of a block."""
    l2_cache_size_bytes: Count | None = None
    """Graphics processors: second-level cache, in bytes."""
    thread_warp_size: Count | None = None
    """Graphics processors: threads of a warp."""
    host: TvmTarget | None = None
    """Graphics processors: the processor that drives it, this machine's if not given."""
    tag: str | None = None
    """A name of TVM's for the device, which tuning databases are told apart by."""

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> TvmTarget:
        if self.kind == "cuda":
            needed = ("arch", *_LIMITS)
            missing = [name for name in needed if getattr(self, name) is None]
            if missing:
                raise ValueError(f"kind 'cuda' needs {', '.join(missing)} too")
            foreign = [name for name in ("mcpu", "mtriple", "mattr") if getattr(self, name)]
            if foreign:
                raise ValueError(
                    f"{foreign[0]} is of a processor; write it below 'host' where the one that "
                    "drives the device is another than this machine's"
                )
        elif self.arch is not None or self.host is not None:
            raise ValueError("'arch' and 'host' are of the kind 'cuda'; found kind 'llvm'")
        return self

    @property
    def processor(self) -> TvmTarget | None:
        """The processor of the code: the target itself, or the host of a graphics processor, None
        where that is this machine's."""
        return self if self.kind == "llvm" else self.host

    @property
    def decisive(self) -> dict[str, Any]:
        """The keys that tuned schedules depend on, besides those of every kind of code."""
        return {} if self.kind == "llvm" else {self.kind: self.model_dump(mode="json")}

    def as_tvm(self) -> dict[str, Any]:
        """The dictionary `tvm.target.Target` takes."""
        found = self.model_dump(by_alias=True, exclude_none=True, exclude={"tag", "host"})
        if not self.mattr:
            found.pop("mattr")
        else:
            found["mattr"] = list(self.mattr)
        if self.kind == "cuda":
            del found["num-cores"]
            found["host"] = self.host.as_tvm() if self.host else {"kind": "llvm"}
        return found


DeviceKind = Literal["local", "rpc", "emulated", "static"]
"""Each has a module of its name in `harness.executors`."""


class Device(Frozen):
    """Where the code runs."""

    kind: DeviceKind = "local"
    """`local`: this machine; `rpc`: a server that a tracker knows by `key`; `emulated`: an emulator
    that counts instructions; `static`: nowhere, the code is compiled and analysed."""
    key: str | None = None
    """Key of the servers, for `rpc`."""

    @property
    def decisive(self) -> dict[str, Any]:
        """The keys that tuned schedules depend on: the servers of a key are one kind of machine."""
        return {"key": self.key} if self.kind == "rpc" else {}


class Multiprocessor(Frozen):
    """Capacities of one multiprocessor of a graphics processor, which decide the number of threads
    that run there side by side."""

    threads: Count
    """Most threads at a time."""
    blocks: Count
    """Most blocks at a time."""
    registers: Count = 65536
    """Registers of 32 bits."""
    shared_memory_kb: Count
    """Shared memory, in KiB."""


class Hardware(Frozen):
    """Figures of the hardware; unknown ones are left out, never guessed."""

    cores: Count
    """Cores of a processor, multiprocessors of a graphics processor."""
    multiprocessor: Multiprocessor | None = None
    """Capacities of each, for graphics processors."""
    simd_bits: Count | None = None
    """Width of vectors, in bits."""
    features: tuple[str, ...] = ()
    """Instruction sets that code for it uses; checked against `tvm`."""
    l1d_kb: Amount | None = None
    """First-level data cache of a core, in KiB."""
    l2_kb: Amount | None = None
    """Second-level cache of a core, in KiB."""
    l3_kb: Amount | None = None
    """Third-level cache, in KiB."""
    peak_gflops: Amount | None = None
    """Most 32-bit operations of all cores, in 10⁹ a second: one roof of the roofline."""
    memory_bandwidth_gbs: Amount | None = None
    """Bandwidth of memory, in 10⁹ bytes a second: the other roof."""
    memory_mb: Amount | None = None
    """Size of memory, in MB."""
    power_watts: Annotated[Amount, Field(gt=0)] | None = None
    """Most power that it draws, its thermal design power for one: `select --objective energy`."""
    price_per_hour: Annotated[Amount, Field(gt=0)] | None = None
    """Rent of all of it: `select --objective price-per-million`."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """Currency of the price, as `USD`."""

    @model_validator(mode="after")
    def _price_in_a_currency(self) -> Hardware:
        if (self.price_per_hour is None) != (self.currency is None):
            raise ValueError(
                "'price_per_hour' and 'currency', such as USD, go together; found only one"
            )
        return self


class Passes(Frozen):
    """Which graph rewrites the hardware asks for."""

    layout: Literal["NCHW", "NHWC"] = "NHWC"
    """Order of the axes of images between kernels."""
    pack_weights: bool = True
    """Whether weights are stored by vectors of outputs."""
    sparse_kernels: bool = True
    """Whether layers without most of their blocks leave those out."""
    integer_kernels: bool = True
    """Whether quantized layers multiply integers."""


class TargetSpec(Frozen):
    """A hardware description, as in `targets/*.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of this format."""
    name: Name
    """Name in results and plots."""
    description: str = ""
    """The hardware in a sentence."""
    architecture: Literal["x86", "arm", "cuda"]
    """Family of the processor."""
    tvm: TvmTarget
    """What TVM compiles for."""
    device: Device = Device()
    """Where the code runs."""
    hardware: Hardware
    """Figures of the hardware."""
    passes: Passes = Passes()
    """Graph rewrites."""
