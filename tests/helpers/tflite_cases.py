"""One case, or several, of each TFLite operator that LayerEdge imports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tflite_graphs import Case, Constant, Input, Output

X = Input((2, 3, 4))
IMAGE = Input((1, 5, 6, 4))
POSITIVE = Input((2, 3, 4), low=0.1)
INTEGERS = Input((2, 3, 4), "int32")
TRUTHS = Input((2, 3, 4), "bool")
INT8 = Input((2, 3, 4), "int8", (0.05,), (3,))
INT8_IMAGE = Input((1, 5, 6, 4), "int8", (0.05,), (3,))
SAME, OTHER = Output("int8", (0.05,), (3,)), Output("int8", (0.08,), (-7,))


def whole(*values: int) -> Constant:
    """A vector of 32-bit integers."""
    return Constant(np.array(values, np.int32))


def number(value: float, dtype: str = "int32") -> Constant:
    return Constant(np.array(value, dtype))


def table(*rows: Sequence[int]) -> Constant:
    return Constant(np.array(rows, np.int32))


def weights(*shape: int, seed: int = 0) -> Constant:
    return Constant(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


def steps(
    *shape: int, scale: float | Sequence[float] = 0.02, axis: int = 0, dtype: str = "int8"
) -> Constant:
    """Weights in integers, symmetric as LiteRT wants them."""
    bound = 127 if dtype == "int8" else 1000
    values = np.random.default_rng(1).integers(-bound, bound + 1, shape).astype(dtype)
    scales = [scale] if isinstance(scale, float) else list(scale)
    return Constant(values, scales, (0,), axis)


def unary(name: str, *inputs: Input, **more: object) -> Case:
    return Case(name, inputs or (X,), **more)  # type: ignore[arg-type]


UNARY = [
    *map(unary, ("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC")),
    *map(unary, ("NEG", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "ROUND", "SIGN", "SIN")),
    *map(unary, ("SQUARE", "TANH", "ZEROS_LIKE")),
    *(unary(name, POSITIVE) for name in ("LOG", "RSQRT", "SQRT")),
    unary("LOGICAL_NOT", TRUTHS, outputs=[Output("bool")]),
    unary("GELU", table="GeluOptions"),
    unary("GELU", table="GeluOptions", options={"approximate": True}, note="approximate"),
    unary("LEAKY_RELU", table="LeakyReluOptions", options={"alpha": 0.3}),
    unary("SOFTMAX", table="SoftmaxOptions", options={"beta": 1.0}),
    unary("SOFTMAX", table="SoftmaxOptions", options={"beta": 0.5}, note="of another beta"),
    unary("LOG_SOFTMAX", table="LogSoftmaxOptions"),
    unary("L2_NORMALIZATION", IMAGE, table="L2NormOptions"),
    unary(
        "LOCAL_RESPONSE_NORMALIZATION", IMAGE, table="LocalResponseNormalizationOptions",
        options={"radius": 1, "bias": 1.5, "alpha": 0.3, "beta": 0.7},
    ),
    *(
        unary("CAST", each, outputs=[Output(to)], table="CastOptions", note=f"{each.dtype} to {to}")
        for each, to in ((X, "int32"), (INTEGERS, "float32"), (TRUTHS, "float32"), (X, "bool"))
    ),
]  # fmt: skip

_COMPARED = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
_SMALL = Input((2, 3, 4), "int32", low=-2, high=2)


def _fused(name: str, activation: int) -> Case:
    return Case(
        name, (X, X), table=f"{name.title()}Options",
        options={"fusedActivationFunction": activation}, note=f"activation {activation}",
    )  # fmt: skip


BINARY = [
    *(_fused(name, at) for name in ("ADD", "SUB", "MUL") for at in (0, 1, 2, 3)),
    Case("DIV", (X, POSITIVE), table="DivOptions"),
    *(Case(name, (X, Input((4,)))) for name in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")),
    Case("POW", (POSITIVE, X)),
    Case("ATAN2", (X, POSITIVE)),
    *(Case(name, (X, POSITIVE)) for name in ("FLOOR_DIV", "FLOOR_MOD")),
    *(
        Case(name, (INTEGERS, Input((2, 3, 4), "int32", low=1)), [Output("int32")], note="int32")
        for name in ("FLOOR_DIV", "FLOOR_MOD")
    ),
    *(Case(name, (_SMALL, _SMALL), [Output("bool")]) for name in _COMPARED),
    *(Case(name, (TRUTHS, TRUTHS), [Output("bool")]) for name in ("LOGICAL_AND", "LOGICAL_OR")),
    Case("PRELU", (IMAGE, weights(1, 1, 4))),
    Case("ADD_N", (X, X, X), table="AddNOptions"),
    Case("BITWISE_XOR", (INTEGERS, INTEGERS), [Output("int32")]),
    Case("RIGHT_SHIFT", (INTEGERS, Input((2, 3, 4), "int32", low=0, high=5)), [Output("int32")]),
    Case("SELECT", (TRUTHS, X, X)),
    Case("SELECT", (Input((2,), "bool"), X, X), note="of rows"),
    Case("SELECT_V2", (Input((3, 1), "bool"), X, X)),
]  # fmt: skip


def moving(x: Input, image: Input, result: Output, note: str = "") -> list[Case]:
    """What only moves and selects values, of floats or of integers in steps."""
    one = [result]

    def case(
        name: str,
        inputs: Sequence[Input | Constant | None],
        kind: str = "",
        options: dict[str, object] | None = None,
        outputs: Sequence[Output] = one,
        about: str = "",
    ) -> Case:
        return Case(name, inputs, outputs, kind, options or {}, f"{note} {about}".strip())

    flat = Constant(np.full((1,), 1.5, np.float32))
    if x.scale:
        flat = Constant(np.array([9], x.dtype), x.scale, x.zero)
    return [
        case("RESHAPE", (x, whole(4, -1))),
        case("TRANSPOSE", (x, whole(2, 0, 1)), "TransposeOptions"),
        case("SQUEEZE", (image,), "SqueezeOptions", {"squeezeDims": [0]}),
        case("SQUEEZE", (image,), "SqueezeOptions", about="all"),
        case("EXPAND_DIMS", (x, number(-1)), "ExpandDimsOptions"),
        case("SLICE", (x, whole(0, 1, 1), whole(-1, 2, 2)), "SliceOptions"),
        case(
            "STRIDED_SLICE", (x, whole(0, 2, 1), whole(2, 0, 4), whole(1, -1, 2)),
            "StridedSliceOptions", {"endMask": 2, "shrinkAxisMask": 0},
        ),
        case(
            "STRIDED_SLICE", (x, whole(-1, 0), whole(0, 2), whole(1, 1)), "StridedSliceOptions",
            {"shrinkAxisMask": 1}, about="of an index",
        ),
        case(
            "STRIDED_SLICE", (x, whole(0, 0, 1), whole(0, 0, 3), whole(1, 1, 1)),
            "StridedSliceOptions", {"ellipsisMask": 1, "newAxisMask": 2}, about="with a new axis",
        ),
        case("SPLIT", (number(2), x), "SplitOptions", {"numSplits": 2}, one * 2),
        case("SPLIT_V", (x, whole(1, -1), number(1)), "SplitVOptions", {"numSplits": 2}, one * 2),
        case("PACK", (x, x), "PackOptions", {"axis": 1, "valuesCount": 2}),
        case("UNPACK", (x,), "UnpackOptions", {"axis": 1, "num": 3}, one * 3),
        case("GATHER", (x, Input((2, 2), "int32", low=0, high=2)), "GatherOptions", {"axis": 1}),
        case(
            "GATHER", (x, Input((2, 2), "int32", low=0, high=2)), "GatherOptions",
            {"axis": 1, "batchDims": 1}, about="in batches",
        ),
        case("GATHER_ND", (x, table([0, 1], [1, 2])), "GatherNdOptions"),
        case("TILE", (x, whole(1, 2, 1)), "TileOptions"),
        case("PAD", (x, table([0, 0], [1, 2], [0, 1])), "PadOptions"),
        case("PADV2", (x, table([0, 0], [1, 2], [0, 1]), flat), "PadV2Options"),
        case("MIRROR_PAD", (x, table([0, 0], [1, 2], [0, 1])), "MirrorPadOptions", {"mode": 0}),
        case(
            "MIRROR_PAD", (x, table([0, 0], [1, 2], [2, 1])), "MirrorPadOptions", {"mode": 1},
            about="symmetric",
        ),
        case("CONCATENATION", (x, x), "ConcatenationOptions", {"axis": -1}),
        case("DEPTH_TO_SPACE", (image,), "DepthToSpaceOptions", {"blockSize": 2}),
        case(
            "SPACE_TO_DEPTH", (Input((1, 4, 6, 4), image.dtype, image.scale, image.zero),),
            "SpaceToDepthOptions", {"blockSize": 2},
        ),
        case("SPACE_TO_BATCH_ND", (image, whole(2, 3), table([1, 0], [0, 0]))),
        case(
            "BATCH_TO_SPACE_ND",
            (Input((4, 2, 3, 2), x.dtype, x.scale, x.zero), whole(2, 2), table([1, 0], [0, 1])),
        ),
        case("MAX_POOL_2D", (image,), "Pool2DOptions", POOL),
        *(
            case(
                "RESIZE_NEAREST_NEIGHBOR", (image, whole(*size)), "ResizeNearestNeighborOptions",
                {"alignCorners": corners, "halfPixelCenters": centers},
                about=f"{size} {corners} {centers}",
            )
            for size in ((8, 9), (3, 12))
            for corners, centers in ((False, False), (True, False), (False, True))
        ),
        *(
            case(name, (x, whole(1, -1)), "ReducerOptions", {"keepDims": True})
            for name in ("REDUCE_MAX", "REDUCE_MIN")
        ),
    ]  # fmt: skip


POOL = {
    "padding": 0, "strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 2,
}  # fmt: skip
MOVEMENT = [
    *moving(X, IMAGE, Output()),
    Case("REVERSE_V2", (X, whole(1)), table="ReverseV2Options"),
    Case(
        "REVERSE_SEQUENCE", (X, whole(2, 3)), table="ReverseSequenceOptions",
        options={"seqDim": 1, "batchDim": 0},
    ),
    Case("BROADCAST_TO", (Input((3, 1)), whole(2, 3, 4)), table="BroadcastToOptions"),
    Case(
        "DYNAMIC_UPDATE_SLICE", (X, Input((1, 2, 2)), whole(1, 1, 1)),
        table="DynamicUpdateSliceOptions",
    ),
    Case("SHAPE", (X,), [Output("int32")], "ShapeOptions", {"outType": 2}),
    Case("RANK", (X,), [Output("int32")], "RankOptions"),
    Case("FILL", (whole(2, 3), number(4.5, "float32")), table="FillOptions"),
    Case("RANGE", (number(1), number(9), number(2)), [Output("int32")], "RangeOptions"),
    Case(
        "ONE_HOT",
        (Input((2, 3), "int32", low=0, high=3), number(4), number(2.5, "float32"),
         number(-1, "float32")),
        table="OneHotOptions", options={"axis": -1},
    ),
    Case("SCATTER_ND", (table([1], [3]), Input((2, 4)), whole(5, 4)), table="ScatterNdOptions"),
    Case(
        "SPARSE_TO_DENSE", (table([0, 1], [1, 2]), whole(2, 3), Input((2,)), number(0, "float32")),
        table="SparseToDenseOptions",
    ),
    Case("MATRIX_DIAG", (Input((2, 3)),), table="MatrixDiagOptions"),
    Case("MATRIX_SET_DIAG", (Input((2, 3, 3)), Input((2, 3))), table="MatrixSetDiagOptions"),
    Case("BROADCAST_ARGS", (whole(2, 1), whole(3,)), [Output("int32")]),
    Case("EMBEDDING_LOOKUP", (Input((3,), "int32", low=0, high=4), weights(5, 4))),
    Case("BUCKETIZE", (X,), [Output("int32")], "BucketizeOptions", {"boundaries": [-1.0, 0.5]}),
]  # fmt: skip

_SEGMENTS = whole(0, 0, 1)
REDUCTIONS = [
    *(
        Case(name, (X, whole(0, -1)), table="ReducerOptions", options={"keepDims": keep},
             note=f"kept {keep}")
        for name in ("SUM", "MEAN", "REDUCE_PROD") for keep in (False, True)
    ),
    *(
        Case(name, (TRUTHS, whole(1)), [Output("bool")], "ReducerOptions")
        for name in ("REDUCE_ANY", "REDUCE_ALL")
    ),
    *(
        Case(name, (X, number(axis)), [Output(dtype)], f"{kind}Options",
             {"outputType": code}, f"{axis} {dtype}")
        for name, kind in (("ARG_MAX", "ArgMax"), ("ARG_MIN", "ArgMin"))
        for axis, dtype, code in ((-1, "int32", 2), (1, "int64", 4))
    ),
    *(
        Case("CUMSUM", (X, number(1)), table="CumsumOptions",
             options={"exclusive": exclusive, "reverse": reverse}, note=f"{exclusive} {reverse}")
        for exclusive in (False, True) for reverse in (False, True)
    ),
    Case("SEGMENT_SUM", (Input((3, 4)), _SEGMENTS)),
    *(
        Case(f"UNSORTED_SEGMENT_{each}", (Input((3, 4)), _SEGMENTS, number(3)))
        for each in ("MAX", "MIN", "PROD", "SUM")
    ),
]  # fmt: skip

_CONV = {"padding": 0, "strideH": 2, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
_DILATED = _CONV | {"strideH": 1, "dilationHFactor": 2, "fusedActivationFunction": 3}
_DEPTHWISE = _CONV | {"strideH": 1, "depthMultiplier": 2}
_CONV_3D = {
    "padding": 1, "strideD": 1, "strideH": 1, "strideW": 1,
    "dilationDFactor": 1, "dilationHFactor": 1, "dilationWFactor": 1,
}  # fmt: skip
_VOLUME = Input((1, 4, 4, 4, 2))


def _resized(corners: bool, centers: bool) -> Case:
    return Case(
        "RESIZE_BILINEAR", (IMAGE, whole(8, 9)), table="ResizeBilinearOptions",
        options={"alignCorners": corners, "halfPixelCenters": centers},
        note=f"{corners} {centers}",
    )  # fmt: skip


WEIGHTED = [
    Case("CONV_2D", (IMAGE, weights(3, 3, 2, 4), weights(3)), (Output(),), "Conv2DOptions", _CONV),
    Case("CONV_2D", (IMAGE, weights(3, 2, 2, 4), weights(3)), (Output(),), "Conv2DOptions",
         _DILATED, "dilated, activated"),
    Case("CONV_2D", (IMAGE, weights(4, 3, 3, 2), weights(4)), (Output(),), "Conv2DOptions",
         _CONV, "in groups"),
    Case("DEPTHWISE_CONV_2D", (IMAGE, weights(1, 3, 3, 8), weights(8)), (Output(),),
         "DepthwiseConv2DOptions", _DEPTHWISE),
    Case("TRANSPOSE_CONV", (whole(1, 10, 12, 3), weights(3, 3, 3, 4), IMAGE), (Output(),),
         "TransposeConvOptions", {"padding": 0, "strideH": 2, "strideW": 2}),
    Case("TRANSPOSE_CONV", (whole(1, 11, 13, 3), weights(3, 3, 3, 4), IMAGE, weights(3)),
         (Output(),), "TransposeConvOptions", {"padding": 1, "strideH": 2, "strideW": 2},
         "valid, with a bias"),
    Case("CONV_3D", (_VOLUME, weights(2, 2, 2, 2, 3), weights(3)), (Output(),), "Conv3DOptions",
         _CONV_3D),
    Case("CONV_3D_TRANSPOSE", (whole(1, 5, 5, 5, 3), weights(2, 2, 2, 3, 2), _VOLUME), (Output(),),
         "Conv3DOptions", _CONV_3D),
    Case("FULLY_CONNECTED", (Input((2, 3, 2, 4)), weights(5, 4)), (Output(),),
         "FullyConnectedOptions", {"keepNumDims": True}, "four dimensions, no bias"),
    Case("FULLY_CONNECTED", (X, weights(5, 12), weights(5)), (Output(),), "FullyConnectedOptions",
         {"fusedActivationFunction": 1}, "flattened"),
    Case("FULLY_CONNECTED", (Input((2, 4)), steps(5, 4), weights(5)), (Output(),),
         "FullyConnectedOptions", {}, "integer weights"),
    Case("CONV_2D", (IMAGE, steps(3, 1, 1, 4), weights(3)), (Output(),), "Conv2DOptions",
         _CONV | {"strideH": 1}, "integer weights of a product"),
    Case("CONV_2D", (IMAGE, steps(3, 3, 2, 4, scale=(0.01, 0.02, 0.03)), weights(3)), (Output(),),
         "Conv2DOptions", _CONV, "integer weights"),
    *(
        Case("BATCH_MATMUL", (Input((2, 4, 3) if x else (2, 3, 4)), Input((5, 4) if y else (4, 5))),
             table="BatchMatMulOptions", options={"adjX": x, "adjY": y}, note=f"{x} {y}")
        for x in (False, True) for y in (False, True)
    ),
    *(Case(name, (IMAGE,), (Output(),), "Pool2DOptions", POOL)
      for name in ("AVERAGE_POOL_2D", "L2_POOL_2D")),
    *(_resized(*each) for each in ((False, False), (True, False), (False, True))),
]  # fmt: skip


def _int8_lstm(coupled: bool) -> Case:
    """Its cell state is in steps of a power of two, as LiteRT wants."""
    inputs, units = 4, 6
    bias = [Constant(np.arange(units, dtype=np.int32) * 20, (0.0005,)) for _ in range(4)]
    of_inputs = [steps(units, inputs, scale=0.01) for _ in range(4)]
    of_state = [steps(units, units, scale=0.008) for _ in range(4)]
    if coupled:
        of_inputs[0] = of_state[0] = bias[0] = None  # type: ignore[call-overload]
    state = Input((2, units), "int8", (1 / 128,), (5,), variable=True)
    memory = Input((2, units), "int16", (2**-11,), variable=True)
    return Case(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        (
            Input((2, 3, inputs), "int8", (0.05,), (3,)),
            *of_inputs,
            *of_state,
            *[None] * 3,
            *bias,
            None,
            None,
            state,
            memory,
            *[None] * 4,
        ),
        [Output("int8", (1 / 128,), (5,))],
        "UnidirectionalSequenceLSTMOptions",
        {"fusedActivationFunction": 4},
        f"int8 {coupled}",
        [*[Output("int16", (2**-12,))] * 4, Output("int8", (1 / 128,), (5,))],
    )


def _lstm(peepholes: bool, coupled: bool, time_first: bool) -> Case:
    inputs, units = 3, 5
    bias = [weights(units, seed=20 + at) for at in range(4)]
    holes = [weights(units, seed=30 + at) if peepholes else None for at in range(3)]
    of_inputs = [weights(units, inputs, seed=at) for at in range(4)]
    of_state = [weights(units, units, seed=10 + at) for at in range(4)]
    if coupled:
        of_inputs[0] = of_state[0] = bias[0] = holes[0] = None  # type: ignore[call-overload]
    states = [Input((2, units), variable=True)] * 2
    data = Input((4, 2, inputs) if time_first else (2, 4, inputs))
    return Case(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        (data, *of_inputs, *of_state, *holes, *bias, None, None, *states, *[None] * 4),
        table="UnidirectionalSequenceLSTMOptions",
        options={"fusedActivationFunction": 4, "timeMajor": time_first, "cellClip": 0.5},
        note=f"{peepholes} {coupled} {time_first}",
    )


def _gate_weights(units: int, inputs: int, seed: int) -> tuple[list[Constant], ...]:
    """Of inputs, of the state, and biases."""
    return (
        [weights(units, inputs, seed=seed + at) for at in range(4)],
        [weights(units, units, seed=seed + 10 + at) for at in range(4)],
        [weights(units, seed=seed + 20 + at) for at in range(4)],
    )


def _lstm_step() -> Case:
    of_inputs, of_state, bias = _gate_weights(5, 3, 0)
    states = [Input((2, 5), variable=True)] * 2
    return Case(
        "LSTM",
        (
            Input((2, 3)),
            *of_inputs,
            *of_state,
            *[None] * 3,
            *bias,
            None,
            None,
            *states,
            *[None] * 4,
        ),
        table="LSTMOptions",
        options={"fusedActivationFunction": 4},
    )


def _both_ways(merged: bool, time_first: bool) -> list[Case]:
    """An LSTM and an RNN in two directions. Where the batch comes first it is 1: LiteRT leaves
    results of the other samples unwritten."""
    batch = 2 if time_first else 1
    data = Input((4, batch, 3) if time_first else (batch, 4, 3))
    state = Input((batch, 5), variable=True)
    one, other = (
        [*of_inputs, *of_state, *[None] * 3, *bias, None, None]
        for of_inputs, of_state, bias in (_gate_weights(5, 3, 0), _gate_weights(5, 3, 50))
    )
    form = {"fusedActivationFunction": 4, "timeMajor": time_first, "mergeOutputs": merged}
    outputs, note = [Output()] * (1 if merged else 2), f"{merged} {time_first}"
    simple = [[weights(5, 3, seed=at), weights(5, 5, seed=at + 1), weights(5)] for at in (0, 9)]
    return [
        Case(
            "BIDIRECTIONAL_SEQUENCE_LSTM",
            (data, *one, *other, *[state] * 4, *[None] * 9),
            outputs,
            "BidirectionalSequenceLSTMOptions",
            form,
            note,
        ),
        Case(
            "BIDIRECTIONAL_SEQUENCE_RNN",
            (data, *simple[0], state, *simple[1], state, None, None, None),
            outputs,
            "BidirectionalSequenceRNNOptions",
            form,
            note,
        ),
    ]


RECURRENT = [
    _lstm_step(),
    *_both_ways(merged=True, time_first=False),
    *_both_ways(merged=True, time_first=True),
    *_both_ways(merged=False, time_first=True),
    Case("SVDF", (Input((2, 3)), weights(8, 3), weights(8, 5), weights(4),
                  Input((2, 40), variable=True)),
         table="SVDFOptions", options={"rank": 2, "fusedActivationFunction": 1}),
    Case("SVDF", (Input((2, 3)), weights(4, 3), weights(4, 5), None, Input((2, 20), variable=True)),
         table="SVDFOptions", options={"rank": 1}, note="without a bias"),
    *(
        Case("UNIDIRECTIONAL_SEQUENCE_RNN",
             (Input((2, 4, 3)), weights(5, 3), weights(5, 5), weights(5),
              Input((4 if first else 2, 5), variable=True)),
             table="SequenceRNNOptions",
             options={"timeMajor": first, "fusedActivationFunction": 4}, note=f"{first}")
        for first in (False, True)
    ),
    _lstm(False, False, False),
    _lstm(True, False, True),
    _lstm(False, True, False),
    _lstm(True, True, False),
    _int8_lstm(False),
    _int8_lstm(True),
    Case("SVDF", (Input((2, 3), "int8", (0.05,), (3,)), steps(8, 3),
                  steps(8, 5, scale=2e-5, dtype="int16"),
                  Constant(np.array([9, -9, 99, 0], np.int32), (1e-7,)),
                  Input((2, 40), "int16", (0.005,), variable=True)),
         [Output("int8", (0.004,), (-128,))], "SVDFOptions",
         {"rank": 2, "fusedActivationFunction": 1}, "int8"),
]  # fmt: skip

_BIAS = Constant(np.array([100, -200, 300], np.int32), (0.001,))
_UINT8 = Input((2, 3, 4), "uint8", (0.05,), (120,))
QUANTIZED = [
    *moving(INT8, INT8_IMAGE, SAME, "int8"),
    Case("CONCATENATION", (_UINT8, Input((2, 3, 4), "uint8", (0.03,), (9,))),
         [Output("uint8", (0.06,), (130,))], "ConcatenationOptions", {"axis": 1}, "of other steps"),
    *(Case(name, (INT8,), [OTHER], note="int8")
      for name in ("RELU", "RELU6", "HARD_SWISH", "ABS", "ELU")),
    *(Case(name, (INT8,), [Output("int8", (scale,), (zero,))], note="int8")
      for name, scale, zero in (("LOGISTIC", 1 / 256, -128), ("TANH", 1 / 128, 0))),
    Case("SOFTMAX", (INT8,), [Output("int8", (1 / 256,), (-128,))], "SoftmaxOptions",
         {"beta": 1.0}, "int8"),
    Case("LEAKY_RELU", (INT8,), [OTHER], "LeakyReluOptions", {"alpha": 0.2}, "int8"),
    Case("PRELU", (INT8_IMAGE, Constant(np.array([[[9, 50, -30, 127]]], np.int8), (0.01,), (4,))),
         [OTHER], note="int8"),
    *(Case(name, (INT8, Input((2, 3, 4), "int8", (0.03,), (-2,))), [Output("int8", (0.1,), (5,))],
           f"{name.title()}Options", {"fusedActivationFunction": 1}, "int8")
      for name in ("ADD", "SUB", "MUL")),
    Case("SQUARED_DIFFERENCE", (INT8, Input((2, 3, 4), "int8", (0.03,), (-2,))),
         [Output("int8", (0.4,), (-100,))], note="int8"),
    *(Case(name, (INT8, INT8), [SAME], note="int8") for name in ("MAXIMUM", "MINIMUM")),
    *(Case(name, (INT8, Input((2, 3, 4), "int8", (0.07,), (-2,))), [Output("bool")], note="int8")
      for name in ("GREATER", "LESS_EQUAL")),
    *(Case(name, (INT8, whole(1)), [OTHER], "ReducerOptions", {}, "int8")
      for name in ("MEAN", "SUM")),
    Case("ARG_MAX", (INT8, number(-1)), [Output("int32")], "ArgMaxOptions", {"outputType": 2},
         "int8"),
    Case("AVERAGE_POOL_2D", (INT8_IMAGE,), [SAME], "Pool2DOptions", POOL, "int8"),
    Case("RESIZE_BILINEAR", (INT8_IMAGE, whole(8, 9)), [SAME], "ResizeBilinearOptions",
         {"halfPixelCenters": True}, "int8"),
    Case("L2_NORMALIZATION", (INT8_IMAGE,), [Output("int8", (1 / 128,), (0,))], "L2NormOptions",
         {}, "int8"),
    Case("CONV_2D", (INT8_IMAGE, steps(3, 3, 2, 4, scale=(0.02, 0.01, 0.03)),
                     Constant(np.array([100, -200, 300], np.int32), (0.001, 0.0005, 0.0015))),
         [Output("int8", (0.3,), (4,))], "Conv2DOptions", _CONV, "int8"),
    Case("DEPTHWISE_CONV_2D",
         (INT8_IMAGE, steps(1, 3, 3, 4, scale=(0.02, 0.01, 0.03, 0.04), axis=3),
          Constant(np.zeros(4, np.int32), (0.001, 0.0005, 0.0015, 0.002))),
         [Output("int8", (0.2,), (4,))], "DepthwiseConv2DOptions", _CONV | {"depthMultiplier": 1,
         "strideH": 1}, "int8"),
    Case("FULLY_CONNECTED", (Input((2, 4), "int8", (0.05,), (3,)), steps(3, 4), _BIAS),
         [Output("int8", (0.1,), (-3,))], "FullyConnectedOptions", {}, "int8"),
    Case("TRANSPOSE_CONV", (whole(1, 10, 12, 3), steps(3, 3, 3, 4), INT8_IMAGE),
         [Output("int8", (0.3,), (2,))], "TransposeConvOptions",
         {"padding": 0, "strideH": 2, "strideW": 2}, "int8"),
    Case("BATCH_MATMUL", (Input((2, 3, 4), "int8", (0.05,), (3,)),
                          Input((2, 4, 5), "int8", (0.04,), (0,))),
         [Output("int8", (0.2,), (1,))], "BatchMatMulOptions", {}, "int8"),
    Case("QUANTIZE", (X,), [SAME], "QuantizeOptions"),
    Case("QUANTIZE", (INT8,), [Output("uint8", (0.08,), (100,))], "QuantizeOptions", {},
         "of steps"),
    Case("DEQUANTIZE", (INT8,), (Output(),), "DequantizeOptions"),
    Case("DEQUANTIZE", (_UINT8,), (Output(),), "DequantizeOptions", {}, "uint8"),
    Case("DEQUANTIZE", (Input((2, 3), "float16"),), (Output(),), "DequantizeOptions", {},
         "float16"),
]  # fmt: skip

FAMILIES: dict[str, list[Case]] = {
    "unary": UNARY,
    "binary": BINARY,
    "movement": MOVEMENT,
    "reductions": REDUCTIONS,
    "weighted": WEIGHTED,
    "recurrent": RECURRENT,
    "quantized": QUANTIZED,
}
