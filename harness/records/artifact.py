"""A compiled network on disk: `model.so` and `artifact.json`, which describes it.

The folder is all that a worker, the report or an export needs; reading it does not need TVM.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import CellFailure, InputError
from harness.records.compiled_code import KernelVerification, Launch, LoopThroughputs, MemorySafety
from harness.records.record import Fusion, StepEntries, Tuning
from harness.specs.documents import Frozen

LIBRARY = "model.so"
KERNELS = "kernels.so"
"""The same network where `model.so` starts its kernels all at once: here they are called one by
one, so that each can be timed."""
DESCRIPTION = "artifact.json"
REFERENCE_SUFFIX = ".reference"
NETWORK, NO_NETWORK = "network.onnx", "network.onnx.missing.txt"
"""The compressed network as an ONNX model, beside its plain build, where ONNX has its operators;
and where it has not, the reason."""
ROUNDINGS = "(roundings)"
"""The last input of a compressed network that is compiled plainly, if it rounds values to integers:
factors of these values, float32 [roundings], all 1 for the network itself."""


class TensorDescription(Frozen):
    """One input or output: NumPy's name of the dtype, and the static shape."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class StateTensor(Frozen):
    """An input of a network, the output that it is in the next inference, and its values in the
    first one, in C order; zeros where there are none."""

    input: str
    output: str
    initial: tuple[int | float, ...] = ()


class KernelDescription(Frozen):
    """One kernel: its calls in an inference, the operations and bytes of a call, and the layers
    whose weights its calls read, in their order.

    `bytes` counts every distinct byte it reads or writes once.
    """

    name: str
    calls: int
    flops: float
    bytes: float
    tuned: bool
    layers: tuple[str, ...] = ()


def reference_of(folder: Path) -> Path:
    """Where the compressed network of an artifact is, compiled plainly, to verify it against."""
    return folder.with_name(f"{folder.name}{REFERENCE_SUFFIX}")


def compressed_network(folder: Path, configuration: str) -> Path:
    """The compressed network of an artifact as an ONNX file. Raises CellFailure where it is not
    there, with the reason."""
    path, why = (reference_of(folder) / name for name in (NETWORK, NO_NETWORK))
    if path.exists():
        return path
    if why.exists():
        said = why.read_text(encoding="utf-8").strip()
        raise CellFailure(f"the network of '{configuration}' is not there as ONNX: {said}")
    raise CellFailure(
        f"the network of '{configuration}' is not there: it was not built, or was removed"
    )


class Artifact(StepEntries):
    """The description of a compiled network."""

    schema_version: int = 1
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    function: str = "main"
    """The library's function that runs an inference. `main` calls one kernel after the other from
    the virtual machine, where each can be watched."""
    sequence: tuple[str, ...] = ()
    """The names of the kernels in the order of their calls, where the library has another function
    alone."""
    kernels: tuple[KernelDescription, ...]
    fusion: Fusion
    tuning: Tuning | None
    weights_mb: float
    activation_mb: float
    artifact_mb: float
    target: dict[str, object]
    launches: tuple[Launch, ...] = ()
    schedules: KernelVerification | None = None
    loops: LoopThroughputs | None = None
    memory_safety: MemorySafety | None = None
    state: tuple[StateTensor, ...] = ()
    """Inputs that are outputs of the inference before."""
    unkept: tuple[str, ...] = ()
    """Tensors that the model's operators keep between inferences; this is the first one."""

    @classmethod
    def read(cls, folder: Path) -> Artifact:
        """Read a folder's description. Raises InputError when it is not one."""
        path = folder / DESCRIPTION
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            words = " ".join(str(error).split())
            raise InputError(f"{path}: not a compiled model: {words}") from None
