"""Files beside a compiled network."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import CellFailure
from harness.records.artifact import NETWORK, NO_NETWORK, compressed_network, reference_of


def test_compressed_network_is_found_or_the_reason_told_why_it_is_not(tmp_path: Path) -> None:
    artifact = tmp_path / "mark"
    with pytest.raises(CellFailure, match="'int8' is not there: it was not built, or was removed"):
        compressed_network(artifact, "int8")
    folder = reference_of(artifact)
    folder.mkdir()
    (folder / NO_NETWORK).write_text("the network has a loop\n")
    with pytest.raises(CellFailure, match=r"not there as ONNX: the network has a loop$"):
        compressed_network(artifact, "int8")
    (folder / NETWORK).write_bytes(b"")
    assert compressed_network(artifact, "int8") == folder / NETWORK
