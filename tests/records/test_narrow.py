from __future__ import annotations

import pytest
from example_results import example_record

from harness.errors import InputError
from harness.records.narrow import narrow
from harness.records.record import CellKey, Record
from harness.specs.settings import Settings


def record(model: str = "net", configuration: str = "a", **settings: int) -> Record:
    key = CellKey(model=model, target="x86-host", configuration=configuration, engine="tvm")
    return example_record(key.model_copy(update={"settings": Settings(**settings)}))


def test_records_without_a_result_are_said() -> None:
    with pytest.raises(InputError, match="no cell has a result yet"):
        narrow([], model="n1")


def test_one_of_several_models_has_to_be_named() -> None:
    net, other = record(), record("n2")
    with pytest.raises(InputError, match="2 models; choose one with --model: n2, net"):
        narrow([net, other])
    assert narrow([net, other], model="n2") == [other]


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no engine 'tmv'; did you mean 'tvm'"):
        narrow([record()], engine="tmv")
    with pytest.raises(InputError, match="no model 'nett'; did you mean 'net'"):
        narrow([record()], model="nett")


def test_configuration_is_taken_by_name() -> None:
    assert narrow([record(), record(configuration="b")], configuration="b") == [
        record(configuration="b")
    ]


def test_one_batch_is_needed_and_all_threads_are_taken() -> None:
    one, eight = record(batch=1), record(batch=8)
    with pytest.raises(InputError, match=r"differ in batch.*choose one with --batch: 1, 8"):
        narrow([one, eight])
    assert narrow([one, eight], settings=Settings(batch=8)) == [eight]
    with pytest.raises(InputError, match="no cell with batch 2; known: 1, 8"):
        narrow([one, eight], settings=Settings(batch=2))
    both = [record(threads=1), record(threads=2)]
    assert narrow(both) == both
    assert narrow(both, settings=Settings(threads=2)) == both[1:]
