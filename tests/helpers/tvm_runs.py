"""Runs imported networks with TVM, unscheduled, to compare their numbers with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.compiler.api import operator_name, relax, tvm
from harness.models.imported import Imported


def run_on_cpu(imported: Imported, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of an imported network, compiled without tuning for this machine."""
    target = tvm.target.Target({"kind": "llvm", "num-cores": 2})
    module = relax.transform.DecomposeOpsForInference()(imported.module)
    library = tvm.compile(relax.transform.LegalizeOps()(module), target=target)
    machine = relax.VirtualMachine(library, tvm.cpu())
    found = machine["main"](*[tvm.runtime.tensor(feeds[spec.name]) for spec in imported.inputs])
    return [tensor.numpy() for tensor in ([found] if len(imported.outputs) == 1 else found)]


def assert_same_numbers(
    imported: Imported, feeds: Mapping[str, np.ndarray], reference: Sequence[np.ndarray]
) -> None:
    """Fails when TVM's outputs are not the reference's, or not what `outputs` says they are."""
    outputs = run_on_cpu(imported, feeds)
    assert len(outputs) == len(reference) == len(imported.outputs)
    for spec, output, expected in zip(imported.outputs, outputs, reference, strict=True):
        assert (output.shape, output.dtype.name) == (spec.shape, spec.dtype)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5, err_msg=spec.name)


def operators_of(module: tvm.IRModule) -> list[str]:
    """The operators that `main` calls, in the order in which they are visited."""
    found: list[str] = []
    relax.analysis.post_order_visit(
        module["main"],
        lambda expr: found.append(operator_name(expr)) if operator_name(expr) else None,
    )
    return found
