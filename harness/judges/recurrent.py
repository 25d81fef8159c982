"""Evaluates recurrent nodes step by step, with their states moved within rounding after each.

A node alone says how its results may be moved, but not how far the rounding of its first steps has
moved the last: a cell that adds 1 to -0.9999993 is off by all that rounding left of either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_PLACES = ("x", "w", "r", "b", "lengths", "h", "c", "p")
"""Names of the inputs by their places; all but the first have an axis of directions."""
_SCALED = frozenset({"activation_alpha", "activation_beta"})

Values = Mapping[str, np.ndarray]
Step = Callable[[onnx.NodeProto, Values], list[np.ndarray]]
"""Evaluates a node of one step and one direction."""
Moved = Callable[[np.ndarray], np.ndarray]


def in_steps(
    node: onnx.NodeProto, given: Values, step: Step, moved: Moved
) -> list[np.ndarray] | None:
    """The outputs of a recurrent node, all that its operator has, with states that are `moved`
    after each step; None of a node whose samples have lengths of their own, whose batch is its
    first axis, whose activations have parameters, or that has no step."""
    values = {_PLACES[at]: given[name] for at, name in enumerate(node.input) if name}
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    unusual = "lengths" in values or attributes.get("layout", 0) or _SCALED & attributes.keys()
    if unusual or not len(values["x"]):
        return None
    count = len(values["w"])
    directions = [
        _one_direction(
            _alone(node, attributes, at, count),
            {name: value if name == "x" else value[at : at + 1] for name, value in values.items()},
            at == 1 or attributes.get("direction", b"forward") == b"reverse",
            step,
            moved,
        )
        for at in range(count)
    ]
    return [
        np.concatenate(parts, axis=parts[0].ndim - 3) for parts in zip(*directions, strict=True)
    ]


def _alone(
    node: onnx.NodeProto, attributes: Mapping[str, Any], at: int, count: int
) -> onnx.NodeProto:
    """The node's direction `at` as a node of its own, named by it."""
    own = {name: value for name, value in attributes.items() if name != "direction"}
    if "activations" in own:
        each = len(own["activations"]) // count
        own["activations"] = own["activations"][at * each : (at + 1) * each]
    states = ("h", "c") if node.op_type == "LSTM" else ("h",)
    inputs = {place for place, name in zip(_PLACES, node.input, strict=False) if name}
    inputs |= {"x", "w", "r", *states}
    names = [place if place in inputs else "" for place in _PLACES]
    while not names[-1]:
        names.pop()
    outputs = ["y", *(f"y_{state}" for state in states)]
    return onnx.helper.make_node(node.op_type, names, outputs, name=str(at), **own)


def _one_direction(
    alone: onnx.NodeProto, values: Values, backwards: bool, step: Step, moved: Moved
) -> list[np.ndarray]:
    """The outputs of one direction: all hidden states, [steps, 1, batch, size], and the last of
    each state, [1, batch, size]."""
    data = values["x"]
    first = np.zeros((1, data.shape[1], values["r"].shape[-1]))
    names = ("h", "c")[: len(alone.output) - 1]
    states = {name: values.get(name, first) for name in names}
    fixed = {name: value for name, value in values.items() if name not in ("x", *names)}
    rows = []
    for at in reversed(range(len(data))) if backwards else range(len(data)):
        _, *found = step(alone, {**fixed, **states, "x": data[at : at + 1]})
        states = {name: moved(value) for name, value in zip(names, found, strict=True)}
        rows.append(states["h"])
    return [np.stack(rows[::-1] if backwards else rows), *states.values()]
