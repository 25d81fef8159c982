// Calls the kernels of a network one after the other, on the places that a memory plan gives them.
//
// `harness/building/at_once.py` writes the tables between the two parts below, in place of a comment.
// TVM calls FUNCTION; programs without TVM call what `layeredge.h` declares.

#include <sys/mman.h>
#include <time.h>
#include <tvm/ffi/c_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

// TVM's, where the library is loaded by it.
extern "C" __attribute__((weak)) void TVMFFIErrorSetRaisedFromCStr(const char*, const char*);

// What kernels call, in variables that TVM sets when it loads the library. A library without kernels
// that call one has no such variable.
extern "C" __attribute__((weak)) void* __TVMBackendParallelLaunch;
extern "C" __attribute__((weak)) void* __TVMBackendAllocWorkspace;
extern "C" __attribute__((weak)) void* __TVMBackendFreeWorkspace;

// As in tvm/runtime/c_backend_api.h.
struct Environment {
  void* barrier;
  int32_t parts;
};
using Loop = int (*)(int part, Environment* environment, void* data);
extern "C" __attribute__((weak)) int layeredge_fork_join(Loop loop, void* data, int parts);

// The constants, as the linker laid them into the library's file.
extern "C" __attribute__((visibility("hidden"))) const char layeredge_constants[];

namespace {

using Call = TVMFFISafeCallType;

// A tensor that is given: an input, or a result that a kernel writes.
struct Given {
  int32_t axes, first;
  DLDataType dtype;
  int64_t bytes;
};

// A tensor that is not given: `offset` bytes into one that is, into the memory of intermediate
// results where `within` is kGiven, or into the constants where it is kConstants. It has `axes`
// extents from `first` on.
struct Planned {
  int32_t within;
  int64_t offset;
  int32_t axes, first;
  DLDataType dtype;
};

// A call of a kernel, with `count` operands from `first` on.
struct Step {
  Call kernel;
  const char* name;
  int32_t first, count;
};

// A result of the network: `bytes` of the given or planned tensor `place`.
struct Result {
  int32_t place;
  int64_t bytes;
};

}  // namespace

// TABLES

namespace {

constexpr size_t kPage = 4096, kLargePage = size_t{1} << 21;
constexpr int64_t kAligned = 64;  // as kernels expect it

// The constants in memory of this process. Within the library's file each page of 4 KiB would have a
// translation of its own, which takes time in networks that read many of them.
class Constants {
 public:
  Constants() {
    if (kConstantBytes == 0) return;
    void* found = mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) return;
    start_ = reserved_ = static_cast<char*>(found);
    if (size_t large = kConstantBytes / kLargePage * kLargePage) {
      start_ += -reinterpret_cast<uintptr_t>(reserved_) & (kLargePage - 1);
      madvise(start_, large, MADV_HUGEPAGE);
    }
    // What is copied is given back to the system, or it would be in memory twice.
    for (size_t at = 0; at < kConstantBytes; at += kLargePage) {
      const size_t count = std::min(kLargePage, kConstantBytes - at);
      std::memcpy(start_ + at, layeredge_constants + at, count);
      madvise(const_cast<char*>(layeredge_constants) + at, count, MADV_DONTNEED);
    }
    mprotect(reserved_, size(), PROT_READ);
  }
  ~Constants() {
    if (reserved_ != nullptr) munmap(reserved_, size());
  }
  Constants(const Constants&) = delete;

  char* start() const { return start_; }
  bool missing() const { return kConstantBytes != 0 && start_ == nullptr; }

 private:
  static constexpr size_t size() {
    const size_t aligning = kConstantBytes < kLargePage ? 0 : kLargePage;
    return (kConstantBytes + aligning + kPage - 1) / kPage * kPage;
  }

  char *reserved_ = nullptr, *start_ = nullptr;
};

const Constants constants;

thread_local const char* error = "";

int fail(const char* kind, const char* message) {
  if (TVMFFIErrorSetRaisedFromCStr) TVMFFIErrorSetRaisedFromCStr(kind, message);
  error = message;
  return -1;
}

int64_t* watch = nullptr;

// Called before each kernel, with its name and operands, if there is one.
using Witness = void (*)(const char* kernel, DLTensor* const* operands, int count);
Witness witness = nullptr;

int64_t nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

DLTensor* tensor_of(const TVMFFIAny& value) {
  return value.type_index == kTVMFFITensor ? TVMFFITensorGetDLTensorPtr(value.v_obj)
                                           : static_cast<DLTensor*>(value.v_ptr);
}

TVMFFIAny any_of(DLTensor& tensor) {
  TVMFFIAny value = {};
  value.type_index = kTVMFFIDLTensorPtr;
  value.v_ptr = &tensor;
  return value;
}

// Kernels do not check their arguments.
bool is(const DLTensor* tensor, const Given& expected) {
  if (tensor->ndim != expected.axes || tensor->dtype.code != expected.dtype.code ||
      tensor->dtype.bits != expected.dtype.bits || tensor->dtype.lanes != expected.dtype.lanes)
    return false;
  return std::equal(tensor->shape, tensor->shape + tensor->ndim, extents + expected.first);
}

char* start_of(const TVMFFIAny* arguments, int within) {
  if (within == kConstants) return constants.start();
  const DLTensor* tensor = tensor_of(arguments[within]);
  return static_cast<char*>(tensor->data) + tensor->byte_offset;
}

// Has the kernels called. The arguments are the given tensors, and the memory of intermediate
// results as the last.
int run(const TVMFFIAny* arguments) {
  TVMFFIAny values[kGiven + kPlanned];
  DLTensor tensors[kPlanned + 1];  // one more: none may be planned
  if (constants.missing()) return fail("MemoryError", "no memory for the network's constants");
  std::copy(arguments, arguments + kGiven, values);
  for (int at = 0; at < kPlanned; ++at) {
    const Planned& plan = planned[at];
    tensors[at] = {start_of(arguments, plan.within) + plan.offset, {kDLCPU, 0}, plan.axes,
                   plan.dtype, extents + plan.first, strides + plan.first, 0};
    values[kGiven + at] = any_of(tensors[at]);
  }
  int64_t* written = watch;
  if (written != nullptr) *written++ = nanoseconds();
  for (const Step& step : steps) {
    TVMFFIAny operands_of_step[kMostOperands], result = {};
    for (int at = 0; at < step.count; ++at)
      operands_of_step[at] = values[operands[step.first + at]];
    if (witness != nullptr) {
      DLTensor* seen[kMostOperands];
      std::transform(operands_of_step, operands_of_step + step.count, seen, tensor_of);
      witness(step.name, seen, step.count);
    }
    if (int status = step.kernel(nullptr, operands_of_step, step.count, &result)) {
      error = "a kernel failed";
      return status;
    }
    if (written != nullptr) *written++ = nanoseconds();
  }
  return 0;
}

void* allocated(int, int, uint64_t bytes, int, int) {
  return std::aligned_alloc(kAligned, (bytes + kAligned - 1) / kAligned * kAligned);
}

int freed(int, int, void* memory) {
  std::free(memory);
  return 0;
}

int in_this_thread(Loop loop, void* data, int parts) {
  Environment environment{nullptr, std::max(parts, 1)};
  for (int part = 0; part < environment.parts; ++part)
    if (int status = loop(part, &environment, data)) return status;
  return 0;
}

template <typename Function>
void supply(void** variable, Function function) {
  if (variable != nullptr && *variable == nullptr) *variable = reinterpret_cast<void*>(function);
}

bool is_aligned(const void* memory) { return reinterpret_cast<uintptr_t>(memory) % kAligned == 0; }

int64_t room(int64_t bytes) { return (bytes + kAligned - 1) / kAligned * kAligned; }

}  // namespace

// Has inferences write the time before the first kernel and after each to `times`, in nanoseconds;
// nowhere where that is null.
extern "C" void layeredge_watch(int64_t* times) { watch = times; }

extern "C" void layeredge_witness(Witness called) { witness = called; }

extern "C" int FUNCTION(void*, const TVMFFIAny* arguments, int32_t, TVMFFIAny*) {
  for (int at = 0; at < kInputs; ++at)
    if (!is(tensor_of(arguments[at]), given[at])) return fail("ValueError", expected[at]);
  return run(arguments);
}

// The memory of one inference: of this description, of intermediate results, and of given tensors
// whose own is not aligned.
struct layeredge_network {
  char* memory;
  char* given[kGiven];
};

extern "C" const char* layeredge_error() { return error; }

extern "C" void layeredge_delete(layeredge_network* network) { std::free(network); }

extern "C" layeredge_network* layeredge_new() {
  supply(&__TVMBackendParallelLaunch,
         layeredge_fork_join != nullptr ? layeredge_fork_join : in_this_thread);
  supply(&__TVMBackendAllocWorkspace, allocated);
  supply(&__TVMBackendFreeWorkspace, freed);
  int64_t bytes = room(sizeof(layeredge_network)) + room(kMemoryBytes);
  for (const Given& each : given) bytes += room(each.bytes);
  auto* found = constants.missing() ? nullptr : std::aligned_alloc(kAligned, bytes);
  if (found == nullptr) {
    error = "no memory for the network";
    return nullptr;
  }
  auto* network = static_cast<layeredge_network*>(found);
  network->memory = static_cast<char*>(found) + room(sizeof(layeredge_network));
  char* next = network->memory + room(kMemoryBytes);
  for (int at = 0; at < kGiven; ++at) {
    network->given[at] = next;
    next += room(given[at].bytes);
  }
  return network;
}

extern "C" int layeredge_run(layeredge_network* network, const void* const* inputs,
                             void* const* outputs) {
  DLTensor tensors[kGiven + 1];
  TVMFFIAny arguments[kGiven + 1];
  for (int at = 0; at < kGiven; ++at) {
    void* data = network->given[at];
    if (at < kInputs) {
      if (is_aligned(inputs[at]))
        data = const_cast<void*>(inputs[at]);
      else
        std::memcpy(data, inputs[at], given[at].bytes);
    } else {
      for (int result = kResults - 1; result >= 0; --result)
        if (results[result].place == at && is_aligned(outputs[result])) data = outputs[result];
    }
    tensors[at] = {data, {kDLCPU, 0}, given[at].axes, given[at].dtype,
                   extents + given[at].first, strides + given[at].first, 0};
    arguments[at] = any_of(tensors[at]);
  }
  int64_t extent = kMemoryBytes, stride = 1;
  tensors[kGiven] = {network->memory, {kDLCPU, 0}, 1, {kDLUInt, 8, 1}, &extent, &stride, 0};
  arguments[kGiven] = any_of(tensors[kGiven]);
  if (int status = run(arguments)) return status;
  for (int at = 0; at < kResults; ++at) {
    const Result& result = results[at];
    const void* found = result.place < kGiven
                            ? tensors[result.place].data
                            : constants.start() + planned[result.place - kGiven].offset;
    if (found != outputs[at]) std::memcpy(outputs[at], found, result.bytes);
  }
  return 0;
}
