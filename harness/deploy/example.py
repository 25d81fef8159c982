"""A program in C++ that calls an exported network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from harness.records.artifact import TensorDescription

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "std::uint16_t",  # its bits
    "int8": "std::int8_t",
    "int16": "std::int16_t",
    "int32": "std::int32_t",
    "int64": "std::int64_t",
    "uint8": "std::uint8_t",
    "uint16": "std::uint16_t",
    "uint32": "std::uint32_t",
    "uint64": "std::uint64_t",
    "bool": "std::uint8_t",
}
"""C++'s types by NumPy's names."""
_ONES = {"float16": "0x3c00"}
_SHOWN = 5

_PROGRAM = """\
// Calls the network with all ones, and prints the first values of each output. To compile:
//     c++ -O2 example.cpp -L. -l:model.so -l:threads.so -Wl,-rpath,'$ORIGIN' -o example
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <vector>

#include "layeredge.h"

template <typename Value>
void print(const char* name, const std::vector<Value>& values) {{
  std::cout << name << ":";
  for (std::size_t at = 0; at < std::min<std::size_t>(values.size(), {shown}); ++at)
    std::cout << " " << +values[at];
  std::cout << "\\n";
}}

int main() {{
  layeredge_set_threads({threads});
  layeredge_network* network = layeredge_new();
{vectors}
  const void* inputs[] = {{{given}}};
  void* outputs[] = {{{found}}};
  if (network == nullptr || layeredge_run(network, inputs, outputs) != 0) {{
    std::cerr << layeredge_error() << "\\n";
    return 1;
  }}
  std::cout.precision(9);
{printed}
  layeredge_delete(network);
}}
"""


def example(
    inputs: Sequence[TensorDescription], outputs: Sequence[TensorDescription], threads: int
) -> str:
    """The program for one network, whose tensors have types of `C_TYPES`."""
    vectors = [_vector(f"input{at}", each, ones=True) for at, each in enumerate(inputs)]
    vectors += [_vector(f"output{at}", each, ones=False) for at, each in enumerate(outputs)]
    return _PROGRAM.format(
        shown=_SHOWN,
        threads=threads,
        vectors="\n".join(vectors),
        given=", ".join(f"input{at}.data()" for at in range(len(inputs))) or "nullptr",
        found=", ".join(f"output{at}.data()" for at in range(len(outputs))),
        printed="\n".join(
            f"  print({_quoted(each.name)}, output{at});" for at, each in enumerate(outputs)
        ),
    )


def _quoted(name: str) -> str:
    """A name as a text in C++."""
    return json.dumps(name, ensure_ascii=False)


def _vector(name: str, tensor: TensorDescription, *, ones: bool) -> str:
    """A vector for a tensor's values, with a comment that says what it is."""
    size, shape = math.prod(tensor.shape), "x".join(map(str, tensor.shape)) or "a number"
    kind, value = C_TYPES[tensor.dtype], _ONES.get(tensor.dtype, "1") if ones else "0"
    return f"  std::vector<{kind}> {name}({size}, {value});  // {_quoted(tensor.name)}, {shape}"
