"""Each layer of a quantized network: its bits, the range of its data, and what it changes."""

from __future__ import annotations

from harness.records.record import LayerQuantization
from harness.report.data import Cell, Results
from harness.report.tables.model import Entry, Table, count, make_table, place_entries
from harness.report.wording import MISSING, number, share


def quantized_layer_table(results: Results) -> Table:
    """A row a layer of each quantized configuration."""
    rows = [
        {**place_entries(group.place), "Configuration": Entry(cell.label), **_layer(layer)}
        for group in results.groups
        for cell in group.cells
        for layer in _layers(cell)
    ]
    return make_table(
        "quantized-layers",
        "Quantized layers",
        rows,
        reading="Layers in the network's order. Range: of the layer's data, as 8 bits divide it; "
        "balanced: after channels were divided by factors. Beyond: the share of the data that "
        "calibration saw outside it. Change: of the network's outputs when this layer alone is "
        "quantized, relative to their size, on calibration data.",
        without=results.without,
        folded=True,
    )


def _layers(cell: Cell) -> tuple[LayerQuantization, ...]:
    entry = cell.record.quantize
    if entry is None or not cell.own or cell.record.status != "ok":
        return ()
    return entry.layers


def _layer(layer: LayerQuantization) -> dict[str, Entry]:
    common = {
        "Layer": Entry(layer.name),
        "Weights": Entry("×".join(map(str, layer.shape))),
        "Parameters": count(layer.parameters),
        "Bits": count(layer.bits),
    }
    if layer.saturated is None or layer.output_change is None:
        missing = Entry(MISSING, tone="quiet")
        return {
            **common,
            "Range": Entry(MISSING, detail=layer.floats_because or "data in floats", tone="quiet"),
            "Beyond": missing,
            "Rounding": missing,
            "Change": missing,
        }
    return {
        **common,
        "Range": Entry(f"{number(layer.low)} to {number(layer.high)}", detail=_chosen(layer)),
        "Beyond": Entry(share(layer.saturated), sort=layer.saturated),
        "Rounding": Entry(layer.rounding or MISSING),
        "Change": Entry(share(layer.output_change), sort=layer.output_change),
    }


def _chosen(layer: LayerQuantization) -> str:
    return f"{layer.ranges}, balanced" if layer.balanced else f"{layer.ranges}"
