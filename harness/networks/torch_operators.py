"""Operators of canonical networks as torch functions, which have gradients."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness.compiler.api import constant_array, operator_name, relax, shape_of
from harness.errors import CellFailure
from harness.passes.operators import ELEMENTWISE
from harness.passes.rewriter import permutation

Function = Callable[..., Tensor]
"""An operator's tensor arguments to its result."""

_NO_GRADIENT = "fine-tuning does not know how torch computes the operator"


def function_of(binding: relax.VarBinding) -> Function:
    """The torch function of a binding's call. Raises CellFailure if there is none."""
    call, name = binding.value, operator_name(binding.value)
    if name in _BOUNDS and (bounded := _bounded(call, _BOUNDS[name])):
        return bounded
    if name in ELEMENTWISE and (path := ELEMENTWISE[name].torch) is not None:
        function: Function = attrgetter(path)(torch)
        return function
    if name in {"relax.reshape", "relax.expand_dims", "relax.squeeze"}:
        shape = shape_of(binding.var)
        return lambda data: data.reshape(shape)
    if name not in _WITH_ATTRIBUTES:
        raise CellFailure(f"{_NO_GRADIENT} {name or call.op}")
    return _WITH_ATTRIBUTES[name](call)


_BOUNDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "relax.maximum": lambda data, bound: functional.hardtanh(data, bound, torch.inf),
    "relax.minimum": lambda data, bound: functional.hardtanh(data, -torch.inf, bound),
}
"""With one number for all of a tensor. The gradient of `torch.maximum`, which is shared out where
both are alike, takes as long as a convolution; that of `torch.clamp` several passes."""


def _bounded(call: relax.Call, apply: Callable[[Tensor, float], Tensor]) -> Function | None:
    """The function of a bound that is one number; None where it is none."""
    found = [constant_array(argument) for argument in call.args]
    at = next((at for at, each in enumerate(found) if each is not None and each.ndim == 0), None)
    if at is None:
        return None
    bound = found[at]
    assert bound is not None
    return lambda *both: apply(both[1 - at], bound.item())


def _convolution(call: relax.Call) -> Function:
    attributes, count = call.attrs, len(call.attrs.strides)
    apply = functional.conv1d if count == 1 else functional.conv2d
    data, kernel = str(attributes.data_layout), str(attributes.kernel_layout)
    padding = _numbers(attributes.padding)
    ordered = _order(kernel, "OI" + _spatial(kernel))
    groups, stride, dilation = (
        int(attributes.groups), _numbers(attributes.strides), _numbers(attributes.dilation)
    )  # fmt: skip

    def function(image: Tensor, weights: Tensor) -> Tensor:
        around, padded = _padded(image, padding)
        weights = weights.permute(ordered)
        if count == 2:
            weights = weights.contiguous(memory_format=torch.channels_last)
        return apply(padded, weights, None, stride, around, dilation, groups)

    return _channels_first(function, data, str(attributes.out_layout) or data)


def _pooling(call: relax.Call) -> Function:
    attributes = call.attrs
    padding, window = _numbers(attributes.padding), _numbers(attributes.pool_size)
    stride, dilation = _numbers(attributes.strides), _numbers(attributes.dilation)
    ceiling, largest = bool(attributes.ceil_mode), "max" in operator_name(call)
    if (ceiling and any(padding)) or (not largest and set(dilation) != {1}):
        raise CellFailure(f"{_NO_GRADIENT} {operator_name(call)} with {attributes}")

    def maximum(image: Tensor) -> Tensor:
        around = functional.pad(image, _torch_padding(padding), value=-torch.inf)
        return functional.max_pool2d(around, window, stride, 0, dilation, ceiling)

    def mean(image: Tensor) -> Tensor:
        around = functional.pad(image, _torch_padding(padding))
        found = functional.avg_pool2d(around, window, stride, 0, ceiling)
        if attributes.count_include_pad:
            return found
        inside = functional.pad(torch.ones_like(image), _torch_padding(padding))
        return found / functional.avg_pool2d(inside, window, stride, 0, ceiling)

    return _channels_first(maximum if largest else mean, str(attributes.layout))


def _channels_first(function: Function, layout: str, out_layout: str | None = None) -> Function:
    """A function of images `[batch, channels, *places]` for those in another layout."""
    inner = "NC" + _spatial(layout)
    there, back = _order(layout, inner), _order(inner, out_layout or layout)

    def applied(image: Tensor, *others: Tensor) -> Tensor:
        return function(image.permute(there), *others).permute(back)

    return applied


def _spatial(layout: str) -> str:
    return "".join(axis for axis in layout if axis in "DHW")


def _order(found: str, wanted: str) -> list[int]:
    """The axes of one layout in the order of another."""
    return [found.index(axis) for axis in wanted]


def _padded(image: Tensor, padding: list[int]) -> tuple[list[int], Tensor]:
    """The padding that the operator can do itself, and the image with the rest of the padding."""
    half = len(padding) // 2
    if padding[:half] == padding[half:]:
        return padding[:half], image
    last = functional.pad(image.movedim(1, -1), [0, 0, *_torch_padding(padding)])
    return [0] * half, last.movedim(-1, 1)


def _torch_padding(padding: list[int]) -> list[int]:
    """All that is before and all that is behind, as torch takes it: by axis, the last one first."""
    half = len(padding) // 2
    pairs = zip(padding[:half], padding[half:], strict=True)
    return [extent for pair in reversed(list(pairs)) for extent in pair]


def _reduction(apply: Callable[..., Tensor]) -> Callable[[relax.Call], Function]:
    def built(call: relax.Call) -> Function:
        rank, keep = len(shape_of(call.args[0])), bool(call.attrs.keepdims)
        axes = list(range(rank)) if call.attrs.axis is None else _numbers(call.attrs.axis)
        return lambda data: apply(data, dim=axes, keepdim=keep)

    return built


def _layer_norm(call: relax.Call) -> Function:
    rank, epsilon = len(shape_of(call.args[0])), float(call.attrs.epsilon)
    axes = sorted(axis % rank for axis in _numbers(call.attrs.axes))
    if axes != list(range(rank - len(axes), rank)):
        raise CellFailure(f"{_NO_GRADIENT} relax.nn.layer_norm over axes {axes}")
    return lambda data, scale, offset: functional.layer_norm(
        data, scale.shape, scale, offset, epsilon
    )


def _take(call: relax.Call) -> Function:
    axis = call.attrs.axis

    def function(data: Tensor, places: Tensor) -> Tensor:
        along = 0 if axis is None else int(axis) % data.ndim
        source = data.reshape(-1) if axis is None else data
        # Negative places count from the end, which `index_select` does not admit.
        found = source.index_select(along, places.reshape(-1) % source.shape[along])
        return found.reshape(*source.shape[:along], *places.shape, *source.shape[along + 1 :])

    return function


def _gather_nd(call: relax.Call) -> Function:
    if int(call.attrs.batch_dims):
        raise CellFailure(f"{_NO_GRADIENT} relax.gather_nd with batch_dims")
    return lambda data, places: data[tuple(places.unbind(-1))]


def _clip(call: relax.Call) -> Function:
    low, high = (float(bound.value) for bound in call.args[1:])
    return lambda data: torch.clip(data, low, high)


def _concat(call: relax.Call) -> Function:
    axis = int(call.attrs.axis)
    return lambda parts: torch.cat(parts, axis)


def _softmax(call: relax.Call) -> Function:
    axis = int(call.attrs.axis)
    return lambda data: torch.softmax(data, axis)


def _permute_dims(call: relax.Call) -> Function:
    axes = permutation(call)
    return lambda data: data.permute(axes)


def _astype(call: relax.Call) -> Function:
    dtype = getattr(torch, str(call.attrs.dtype))
    return lambda data: data.to(dtype)


def _numbers(values: Any) -> list[int]:
    return [int(value) for value in values]


_WITH_ATTRIBUTES: dict[str, Callable[[relax.Call], Function]] = {
    "relax.astype": _astype,
    "relax.clip": _clip,
    "relax.concat": _concat,
    "relax.gather_nd": _gather_nd,
    "relax.matmul": lambda call: torch.matmul,
    "relax.max": _reduction(torch.amax),
    "relax.mean": _reduction(torch.mean),
    "relax.min": _reduction(torch.amin),
    "relax.nn.avg_pool2d": _pooling,
    "relax.nn.conv1d": _convolution,
    "relax.nn.conv2d": _convolution,
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.max_pool2d": _pooling,
    "relax.nn.softmax": _softmax,
    "relax.permute_dims": _permute_dims,
    "relax.sum": _reduction(torch.sum),
    "relax.take": _take,
}
