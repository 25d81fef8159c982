// Calls the kernels of a network one after the other, on the places that a memory plan gives them.
//
// `harness/building/at_once.py` writes the tables between the two parts below. The arguments are the
// network's inputs, constants and outputs, and the memory of intermediate results as the last.

#include <tvm/ffi/c_api.h>

namespace {

using Call = TVMFFISafeCallType;

// A tensor that is not given: `offset` bytes into a given one, with `axes` extents from `first` on.
struct Planned {
  int32_t within;
  int64_t offset;
  int32_t axes, first;
  DLDataType dtype;
};

// What an input has to be.
struct Input {
  int32_t axes, first;
  DLDataType dtype;
};

// A call of a kernel, with `count` operands from `first` on.
struct Step {
  Call kernel;
  int32_t first, count;
};

}  // namespace

// TABLES

namespace {

DLTensor* tensor_of(const TVMFFIAny& value) {
  return value.type_index == kTVMFFITensor ? TVMFFITensorGetDLTensorPtr(value.v_obj)
                                           : static_cast<DLTensor*>(value.v_ptr);
}

// Kernels do not check their arguments.
bool is(const DLTensor* tensor, const Input& input) {
  if (tensor->ndim != input.axes || tensor->dtype.code != input.dtype.code ||
      tensor->dtype.bits != input.dtype.bits || tensor->dtype.lanes != input.dtype.lanes)
    return false;
  for (int at = 0; at < input.axes; ++at)
    if (tensor->shape[at] != extents[input.first + at]) return false;
  return true;
}

}  // namespace

extern "C" int FUNCTION(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  TVMFFIAny values[kGiven + kPlanned];
  DLTensor tensors[kPlanned + 1];  // one more: none may be planned
  for (int at = 0; at < kGiven; ++at) values[at] = given[at];
  for (int at = 0; at < kInputs; ++at) {
    if (is(tensor_of(given[at]), inputs[at])) continue;
    TVMFFIErrorSetRaisedFromCStr("ValueError", expected[at]);
    return -1;
  }
  for (int at = 0; at < kPlanned; ++at) {
    const Planned& plan = planned[at];
    const DLTensor* base = tensor_of(given[plan.within]);
    char* start = static_cast<char*>(base->data) + base->byte_offset;
    tensors[at] = {start + plan.offset, {kDLCPU, 0}, plan.axes, plan.dtype,
                   extents + plan.first, strides + plan.first, 0};
    TVMFFIAny& value = values[kGiven + at];
    value = {};
    value.type_index = kTVMFFIDLTensorPtr;
    value.v_ptr = &tensors[at];
  }
  for (const Step& step : steps) {
    TVMFFIAny arguments[kMostOperands], result = {};
    for (int at = 0; at < step.count; ++at) arguments[at] = values[operands[step.first + at]];
    if (int status = step.kernel(nullptr, arguments, step.count, &result)) return status;
  }
  return 0;
}
