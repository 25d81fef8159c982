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
    """The part of a hardware description that is handed to TVM; the keys are TVM's own.

    `mcpu`, `mtriple`, `mattr` and `num-cores` are of processors (`llvm`), `arch` and the keys after
    it of graphics processors (`cuda`); `host` is the processor that such a one is driven by, this
    machine's unless it says otherwise. Sizes are in bytes.
    """

    kind: Literal["llvm", "cuda"] = "llvm"
    mcpu: str | None = None
    mtriple: str | None = None
    mattr: tuple[str, ...] = ()
    num_cores: Annotated[int, Field(ge=1, le=MOST_THREADS, alias="num-cores")] = 1
    arch: Annotated[str, Field(pattern=r"^sm_\d+[af]?$")] | None = None
    max_threads_per_block: Count | None = None
    max_shared_memory_per_block: Count | None = None
    registers_per_block: Count | None = None
    l2_cache_size_bytes: Count | None = None
    thread_warp_size: Count | None = None
    host: TvmTarget | None = None
    tag: str | None = None

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
    key: str | None = None

    @property
    def decisive(self) -> dict[str, Any]:
        """The keys that tuned schedules depend on: the servers of a key are one kind of machine."""
        return {"key": self.key} if self.kind == "rpc" else {}


class Multiprocessor(Frozen):
    """Capacities of one multiprocessor of a graphics processor, which decide the number of threads
    that run there side by side."""

    threads: Count
    blocks: Count
    registers: Count = 65536
    shared_memory_kb: Count


class Hardware(Frozen):
    """Figures of the hardware; unknown ones are left out, never guessed. The cores
    of a graphics processor are its multiprocessors. `power_watts` is the most that it draws, its
    thermal design power for one, and `price_per_hour` the rent for all of it."""

    cores: Count
    multiprocessor: Multiprocessor | None = None
    simd_bits: Count | None = None
    features: tuple[str, ...] = ()
    l1d_kb: Amount | None = None
    l2_kb: Amount | None = None
    l3_kb: Amount | None = None
    peak_gflops: Amount | None = None
    memory_bandwidth_gbs: Amount | None = None
    memory_mb: Amount | None = None
    power_watts: Annotated[Amount, Field(gt=0)] | None = None
    price_per_hour: Annotated[Amount, Field(gt=0)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None

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
    pack_weights: bool = True
    sparse_kernels: bool = True
    """Whether layers without most of their blocks leave those out."""
    integer_kernels: bool = True
    """Whether quantized layers multiply integers."""


class TargetSpec(Frozen):
    """A hardware description, as in `targets/*.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    description: str = ""
    architecture: Literal["x86", "arm", "cuda"]
    tvm: TvmTarget
    device: Device = Device()
    hardware: Hardware
    passes: Passes = Passes()
