"""What a record holds about compiled code that needs no clock: instructions, launches, loops, and
the checks of its kernels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.specs.documents import Frozen


class InstructionMix(Frozen):
    """How many instructions of each kind a function's code has, each counted once, however often it
    runs: `floating_point` arithmetic, of which a fused multiply-add is one; `integer` arithmetic,
    of addresses too; loads and stores of the device's memory and of that which a block shares;
    `barriers` among the threads of a block; `branches`, returns among them; and `other`, such as
    moves between registers. `form` is the language of the code, see
    `harness.devices.graphics.instruction_mix`."""

    form: Literal["ptx"]
    floating_point: int = 0
    integer: int = 0
    global_loads: int = 0
    global_stores: int = 0
    shared_loads: int = 0
    shared_stores: int = 0
    barriers: int = 0
    branches: int = 0
    other: int = 0


class Launch(Frozen):
    """The resources of one function of a graphics processor's kernel: `registers` of a thread,
    `shared_memory_bytes` of a block of `threads`, and the bytes that it spills for want of
    registers. `occupancy` is the share of a multiprocessor's threads that run at a time. All its
    `blocks` together do `flops` operations and load or store `bytes` of the device's memory,
    counted for each block; 0 where that is not known. `instructions` are those of its code."""

    name: str
    registers: int
    shared_memory_bytes: int
    spill_bytes: int
    threads: int = 0
    occupancy: float | None = None
    blocks: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    instructions: InstructionMix | None = None


class InstructionCount(Frozen):
    """The instructions that one inference executes within the compiled network, on one thread;
    `load_store` are those that access memory, of vectors too, `simd` those that compute with
    vectors or floats, and `branch` branches and calls."""

    total: int
    load_store: int
    simd: int
    branch: int


class LoopThroughput(Frozen):
    """One iteration of the hottest loop of a kernel on a processor's core, simulated by llvm-mca:
    `cycles` on average, and `reciprocal_throughput`, the cycles that would do if no instruction
    waited for another's result. `busiest` is the resource that is in use longest, for
    `busiest_cycles`; `dispatch` is the rate at which instructions are given to the resources.

    `loop` is its label in the assembly. Its `instructions` perform `multiply_accumulates`, each
    lane of a vector counted. Loops inside it and `calls` are left out. `flops` are those of all of
    the kernel in an inference.
    """

    kernel: str
    loop: str
    flops: float
    instructions: int
    multiply_accumulates: int
    cycles: float
    reciprocal_throughput: float
    busiest: str
    busiest_cycles: float
    calls: int = 0

    @property
    def instructions_a_cycle(self) -> float:
        return self.instructions / self.cycles

    @property
    def multiply_accumulates_a_cycle(self) -> float:
        return self.multiply_accumulates / self.cycles


class LoopThroughputs(Frozen):
    """A static estimate of the hottest loop of each kernel, see
    `harness.devices.emulated.loop_throughput`. `by` is the program that estimated, name and
    version, and `scheduling_model` LLVM's model of the processor. `peak` is the most
    multiply-accumulates a cycle that the model allows a core. `unestimated` has the reason for each
    kernel without an estimate, by its name, and `reason` why there is none at all."""

    by: str | None = None
    scheduling_model: str | None = None
    peak: float | None = None
    loops: tuple[LoopThroughput, ...] = ()
    unestimated: dict[str, str] = Field(default_factory=dict)
    reason: str | None = None

    def share_of_peak(self, loop: LoopThroughput) -> float | None:
        """None where a loop does not multiply and accumulate."""
        if not self.peak or not loop.multiply_accumulates:
            return None
        return loop.multiply_accumulates_a_cycle / self.peak

    @property
    def peak_share(self) -> float | None:
        """Of all loops that have a share of the peak: the harmonic mean, weighted by their kernels'
        operations, as if those took place in the loops."""
        known = [(loop.flops, self.share_of_peak(loop)) for loop in self.loops]
        shares = [(flops, share) for flops, share in known if flops and share]
        if not shares:
            return None
        return sum(flops for flops, _ in shares) / sum(flops / share for flops, share in shares)


class KernelVerification(Frozen):
    """A run of a network's `kernels` on a processor in their schedules' OpenCL form, `by` a program
    of this name and version. All gave the unscheduled kernel's results, except for those that it
    could not run: `unverified` has the reason for each, by its name."""

    by: str
    kernels: int
    unverified: dict[str, str]


class MemorySafety(Frozen):
    """A run of each of a network's `kernels` with its arguments between guard pages: `rejected` has
    the schedules that were replaced by the default ones, by the kernel's name, with the access
    outside its arguments."""

    kernels: int
    rejected: dict[str, str]


class Static(Frozen):
    """A network that was compiled and not run: the launches of its kernels, and the lower bound
    `bound_ms` of an inference: for each kernel its operations at the described peak or its bytes at
    the described bandwidth, whichever is longer. `estimate_ms` goes
    by how the kernels are scheduled, see `harness.devices.graphics.static_estimate`; it is no
    latency. `schedules` is None where nothing verified them."""

    launches: tuple[Launch, ...]
    bound_ms: float | None = None
    estimate_ms: float | None = None
    schedules: KernelVerification | None = None

    @property
    def kernels_unverified(self) -> int | None:
        """Of the network's kernels, where any could be verified."""
        return None if self.schedules is None else len(self.schedules.unverified)

    @property
    def kernels_verified(self) -> int | None:
        if self.schedules is None:
            return None
        return self.schedules.kernels - len(self.schedules.unverified)

    @property
    def registers_max(self) -> int | None:
        return max((launch.registers for launch in self.launches), default=None)

    @property
    def spill_bytes(self) -> int:
        """Of all launches together."""
        return sum(launch.spill_bytes for launch in self.launches)

    @property
    def shared_memory_bytes(self) -> int | None:
        """Of the block that takes most."""
        return max((launch.shared_memory_bytes for launch in self.launches), default=None)

    @property
    def occupancy_min(self) -> float | None:
        known = [launch.occupancy for launch in self.launches if launch.occupancy is not None]
        return min(known, default=None)
