from __future__ import annotations

from harness.specs.edges import Edges
from harness.specs.steps import StepOptions
from harness.specs.sweep import STEP_MODULES, Configuration


def test_a_step_takes_the_network_alone_unless_it_says_more() -> None:
    class Options(StepOptions):
        by: float = 2.0

    options = Options()
    assert (options.samples, options.trains, options.times_kernels) == (0, False, None)
    assert options.decisive() == {"by": 2.0}
    assert options.variants() == {"": options}


def test_edges_say_what_they_take() -> None:
    plain = Edges(sparsity=0.5)
    assert (plain.samples, plain.trains, plain.times_kernels) == (0, False, None)
    fitted = Edges(sparsity=0.5, reconstruct=True, calibration=32, budget="latency")
    assert fitted.samples == 32 and not fitted.trains
    assert fitted.times_kernels is not None and "'uniform'" in fitted.times_kernels
    tuned = Edges.model_validate({"sparsity": 0.5, "finetune": {"epochs": 2}})
    assert tuned.samples == tuned.calibration and tuned.trains


def test_configuration_has_its_steps_and_a_cell_for_each_variant() -> None:
    assert list(STEP_MODULES) == ["edges", "quantize"]
    assert Configuration(name="fused").steps == {}
    sparse = Configuration(name="sparse", edges=Edges(sparsity=(0.5, 0.8)))
    assert [cell.name for cell in sparse.cells()] == ["sparse@0.5", "sparse@0.8"]
    for cell, sparsity in zip(sparse.cells(), (0.5, 0.8), strict=True):
        assert cell.steps == {"edges": Edges(sparsity=sparsity)}
    assert Configuration(name="fused").cells() == (Configuration(name="fused"),)
