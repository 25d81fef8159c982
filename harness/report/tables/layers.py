"""Each layer's edges, configuration by configuration."""

from __future__ import annotations

from harness.records.record import LayerCompression
from harness.report.data import Cell, Group, Results
from harness.report.edge_figures import compressed, kept_shares, layers_of
from harness.report.tables.model import Entry, Table, count, make_table, place_entries, quantity
from harness.report.wording import MISSING, share


def layer_table(results: Results) -> Table:
    """A row a layer of each network with compressed edges, and the share of them that is left."""
    found = [(group, compressed(group)) for group in results.groups]
    labels = list(dict.fromkeys(cell.label for _, cells in found for cell in cells))
    rows = []
    for group, cells in found:
        kept = {cell.label: kept_shares(cell) for cell in cells}
        for layer in layers_of(cells):
            shares = {label: kept.get(label, {}).get(layer.name) for label in labels}
            rows.append(
                {
                    **_layer(group, layer, cells),
                    **{f"Kept by {label}": _kept(part) for label, part in shares.items()},
                }
            )
    return make_table(
        "layers",
        "Edges kept, layer by layer",
        rows,
        reading="Weights as the operator keeps them, in the network's order; MFLOP of an inference "
        "with all edges. A layer that fits no block keeps all.",
        without=results.without,
        folded=True,
    )


def _layer(group: Group, layer: LayerCompression, cells: list[Cell]) -> dict[str, Entry]:
    whole = sum(other.flops for other in layers_of(cells))
    part = layer.flops / whole if whole else 0.0
    flops = quantity(layer.flops / 1e6)
    return {
        **place_entries(group.place),
        "Layer": Entry(layer.name),
        "Weights": Entry("×".join(map(str, layer.shape))),
        "Parameters": count(layer.parameters),
        "MFLOP": Entry(flops.text, detail=share(part), sort=flops.sort),
    }


def _kept(part: float | None) -> Entry:
    return Entry(MISSING, tone="quiet") if part is None else Entry(share(part), sort=part)
