#include "shim.h"

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/profiler/orchestration/observer.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

// What libtorch offers for every kind of device has grown; before that, memory is neither told nor given back.
#define EM_TORCH_AT_LEAST(minor) (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= minor))

namespace {

thread_local std::string last_error;

// A model that answers with something else than its signature says.
struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Nothing may be thrown through a C interface.
template <typename Work>
int guarded(Work&& work) noexcept {
  try {
    work();
    return 0;
  } catch (const Mismatch& error) {
    last_error = error.what();
    return 2;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "something was thrown that is no exception";
  }
  return 1;
}

c10::Device device_of(int device) {
  return device < 0 ? c10::Device(c10::kCPU) : c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
}

bool is_device_data(const c10::TypePtr& type) {
  return type->isSubtypeOf(*c10::TensorType::get()) || type->kind() == c10::TypeKind::ListType ||
         type->kind() == c10::TypeKind::DictType;
}

// What a method does to what it did not make itself.
struct Effects {
  bool keeps_state = false;
  std::vector<bool> reads_only;
};

bool changes_module(const torch::jit::Block* block, const torch::jit::AliasDb& aliases) {
  for (const torch::jit::Node* node : block->nodes()) {
    if (node->kind() == c10::prim::SetAttr) {
      return true;
    }
    if (node->kind() == c10::prim::GetAttr && is_device_data(node->output()->type()) &&
        aliases.hasWriters(node->output())) {
      return true;
    }
    for (const torch::jit::Block* inner : node->blocks()) {
      if (changes_module(inner, aliases)) {
        return true;
      }
    }
  }
  return false;
}

Effects effects_of(const torch::jit::Method& method) {
  auto graph = method.graph()->copy();
  torch::jit::Inline(*graph);
  const torch::jit::AliasDb aliases(graph);
  Effects effects;
  effects.keeps_state = changes_module(graph->block(), aliases);
  for (size_t input = 1; input < graph->inputs().size(); ++input) {
    effects.reads_only.push_back(!effects.keeps_state && !aliases.hasWriters(graph->inputs()[input]));
  }
  return effects;
}

torch::jit::Module optimized(torch::jit::Module module) {
  torch::NoGradGuard no_grad;
  torch::jit::Module frozen = torch::jit::freeze(module);
  return torch::jit::optimize_for_inference(frozen);
}

void flatten(const c10::IValue& value, const char* const* names, size_t name_count,
             std::vector<at::Tensor>& into) {
  if (value.isTensor()) {
    into.push_back(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) {
      into.push_back(tensor);
    }
  } else if (value.isTuple()) {
    for (const c10::IValue& element : value.toTupleRef().elements()) {
      flatten(element, names, name_count, into);
    }
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      flatten(element, names, name_count, into);
    }
  } else if (value.isGenericDict()) {
    const auto dictionary = value.toGenericDict();
    for (size_t name = 0; name < name_count; ++name) {
      const auto entry = dictionary.find(c10::IValue(std::string(names[name])));
      if (entry == dictionary.end()) {
        throw Mismatch(std::string("the model's answer has no ") + names[name]);
      }
      flatten(entry->value(), names, name_count, into);
    }
  } else {
    throw Mismatch("the model answers with a " + value.tagKind() + ", not with tensors");
  }
}

// Allocations are told to whatever profiler a thread has. libtorch takes it for one of its own kind, so this is one, which
// counts and does no more.
class Meter final : public torch::profiler::impl::ProfilerStateBase {
 public:
  explicit Meter(c10::DeviceType type)
      : ProfilerStateBase(torch::profiler::impl::ProfilerConfig(torch::profiler::impl::ProfilerState::Disabled)),
        type_(type) {}

  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device device) override {
    if (device.type() == type_) {
      held_ += size;
      peak_ = std::max(peak_, held_);
    }
  }

  bool memoryProfilingEnabled() const override {
    return true;
  }

  torch::profiler::impl::ActiveProfilerType profilerType() override {
    return torch::profiler::impl::ActiveProfilerType::NONE;
  }

  int64_t held() const {
    return held_;
  }

  int64_t peak() const {
    return peak_;
  }

 private:
  c10::DeviceType type_;
  int64_t held_ = 0;
  int64_t peak_ = 0;
};

constexpr size_t kMarks = 4;

} // namespace

struct em_module {
  torch::jit::Module module;
  torch::jit::Method forward;
  Effects effects;
};

struct em_lane {
  c10::Stream stream;
  std::array<c10::Event, kMarks> marks;
};

struct em_meter {
  std::shared_ptr<Meter> meter;
};

extern "C" {

const char* em_error() {
  return last_error.c_str();
}

const char* em_version() {
  return TORCH_VERSION;
}

// === the device ===

int em_device_count() {
  return c10::impl::hasDeviceGuardImpl(c10::kCUDA) ? c10::impl::getDeviceGuardImpl(c10::kCUDA)->deviceCount() : 0;
}

int em_device_open(int device) {
  return guarded([&] {
    const c10::Device where = device_of(device);
    at::globalContext().lazyInitDevice(where.type());
    const c10::impl::VirtualGuardImpl guard(where.type());
    guard.setDevice(where);
    guard.synchronizeDevice(where.index());
  });
}

int em_device_check(int device) {
  return guarded([&] {
    if (device >= 0) {
      c10::impl::getDeviceGuardImpl(c10::kCUDA)->synchronizeDevice(static_cast<c10::DeviceIndex>(device));
    }
  });
}

int em_device_memory(int device, em_memory* memory) {
  return guarded([&] {
    *memory = {};
#if EM_TORCH_AT_LEAST(10)
    if (device >= 0) {
      const auto index = static_cast<c10::DeviceIndex>(device);
      c10::DeviceAllocator* allocator = c10::getDeviceAllocator(c10::kCUDA);
      std::tie(memory->free, memory->total) = allocator->getMemoryInfo(index);
      const auto stats = allocator->getDeviceStats(index);
      constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
      memory->allocated = static_cast<uint64_t>(stats.allocated_bytes[all].current);
      memory->reserved = static_cast<uint64_t>(stats.reserved_bytes[all].current);
    }
#endif
  });
}

int em_device_trim(int device) {
  return guarded([&] {
    if (device >= 0) {
#if EM_TORCH_AT_LEAST(9)
      c10::getDeviceAllocator(c10::kCUDA)->emptyCache();
      at::getHostAllocator(c10::kCUDA)->empty_cache();
#endif
    }
  });
}

int em_pinned(int64_t bytes, void** tensor) {
  return guarded([&] {
    *tensor = new at::Tensor(at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true)));
  });
}

// === modules ===

int em_module_load(const char* file, int device, bool optimize, em_module** module) {
  return guarded([&] {
    auto loaded = torch::jit::load(std::string(file), device_of(device));
    loaded.eval();
    if (optimize) {
      loaded = optimized(loaded);
    }
    auto forward = loaded.get_method("forward");
    auto effects = effects_of(forward);
    *module = new em_module{std::move(loaded), std::move(forward), std::move(effects)};
  });
}

void em_module_free(em_module* module) {
  guarded([&] { delete module; });
}

void em_module_arguments(const em_module* module, size_t* least, size_t* most) {
  const auto& arguments = module->forward.function().getSchema().arguments();
  *most = arguments.empty() ? 0 : arguments.size() - 1;
  *least = 0;
  for (size_t argument = 1; argument < arguments.size(); ++argument) {
    *least += arguments[argument].default_value() ? 0 : 1;
  }
}

bool em_module_keeps_state(const em_module* module) {
  return module->effects.keeps_state;
}

bool em_module_reads_only(const em_module* module, size_t input) {
  return input < module->effects.reads_only.size() && module->effects.reads_only[input];
}

int em_module_forward(em_module* module, void* const* inputs, size_t input_count, const char* const* names,
                      void** outputs, size_t output_count) {
  return guarded([&] {
    c10::InferenceMode inference;
    std::vector<c10::IValue> arguments;
    arguments.reserve(input_count + 1);
    for (size_t input = 0; input < input_count; ++input) {
      arguments.emplace_back(*static_cast<at::Tensor*>(inputs[input]));
    }
    std::vector<at::Tensor> tensors;
    flatten(module->forward(std::move(arguments)), names, output_count, tensors);
    if (tensors.size() != output_count) {
      throw Mismatch("the model answers with " + std::to_string(tensors.size()) + " tensors, its signature has " +
                     std::to_string(output_count));
    }
    for (size_t output = 0; output < output_count; ++output) {
      at::Tensor tensor = tensors[output];
      if (tensor.layout() != at::kStrided) {
        tensor = tensor.to_dense();
      }
      outputs[output] = new at::Tensor(tensor.contiguous());
    }
  });
}

// === lanes ===

int em_lane_new(int device, em_lane** lane) {
  return guarded([&] {
    const c10::Device where = device_of(device);
    const c10::impl::VirtualGuardImpl guard(where.type());
    guard.setDevice(where);
    const c10::Stream stream = device < 0 ? guard.getStream(where) : guard.getStreamFromGlobalPool(where);
    guard.exchangeStream(stream);
    const auto mark = [&] { return c10::Event(where.type(), c10::EventFlag::BACKEND_DEFAULT); };
    *lane = new em_lane{stream, {mark(), mark(), mark(), mark()}};
  });
}

void em_lane_free(em_lane* lane) {
  guarded([&] { delete lane; });
}

int64_t em_lane_stream(const em_lane* lane) {
  return lane->stream.id();
}

int em_lane_mark(em_lane* lane, int index) {
  return guarded([&] { lane->marks.at(static_cast<size_t>(index)).record(lane->stream); });
}

int em_lane_wait(em_lane* lane, int index) {
  return guarded([&] { lane->marks.at(static_cast<size_t>(index)).synchronize(); });
}

int em_lane_elapsed(em_lane* lane, int from, int to, double* milliseconds) {
  return guarded([&] {
    *milliseconds =
        lane->marks.at(static_cast<size_t>(from)).elapsedTime(lane->marks.at(static_cast<size_t>(to)));
  });
}

// === memory ===

int em_meter_start(int device, em_meter** meter) {
  return guarded([&] {
    auto started = std::make_shared<Meter>(device_of(device).type());
    c10::ThreadLocalDebugInfo::_push(c10::DebugInfoKind::PROFILER_STATE, started);
    *meter = new em_meter{std::move(started)};
  });
}

int em_meter_stop(em_meter* meter, int64_t* held, int64_t* peak) {
  return guarded([&] {
    const std::unique_ptr<em_meter> owned(meter);
    *held = owned->meter->held();
    *peak = owned->meter->peak();
    c10::ThreadLocalDebugInfo::_pop(c10::DebugInfoKind::PROFILER_STATE);
  });
}
}
