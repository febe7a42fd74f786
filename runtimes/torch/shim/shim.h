// What the runtime needs of libtorch beyond tch: TorchScript modules made ready for inference, and one lane's stream,
// events and memory on a device. All of it on c10's device-generic interfaces, so that no CUDA header is needed and one
// binary serves machines with and without CUDA.
//
// Functions that return int return 0, or 1 when they failed, or 2 when a model answers with something else than its
// signature says; em_error() then says why, on the same thread.
// A device is -1 for the processor, otherwise the number of a CUDA device.
#pragma once

#include <cstddef>
#include <cstdint>


struct em_module;
struct em_lane;
struct em_meter;

struct em_memory {
  // Bytes of device memory that nobody uses, and that there are at all.
  uint64_t free;
  uint64_t total;
  // Bytes that libtorch uses in this process, and that it has taken from the device.
  uint64_t allocated;
  uint64_t reserved;
};

extern "C" {

const char* em_error();
// The version these functions were compiled for.
const char* em_version();

// How many CUDA devices there are; 0 if CUDA was not loaded before anything else of libtorch was used.
int em_device_count();
// Makes a context on a CUDA device.
int em_device_open(int device);
// Waits for everything on the device. Fails if the device's context is broken, and then it stays broken.
int em_device_check(int device);
int em_device_memory(int device, em_memory* memory);
// Gives memory that nobody uses back, the device's and the host's pinned one.
int em_device_trim(int device);
// Pinned host memory.
int em_pinned(int64_t bytes, void** tensor);

// Loads a TorchScript archive onto a device; optimize folds constants and fuses what can be.
int em_module_load(const char* file, int device, bool optimize, em_module** module);
void em_module_free(em_module* module);
// Arguments that forward needs at least and takes at most, the module itself not counted.
void em_module_arguments(const em_module* module, size_t* least, size_t* most);
// Does forward change the module, so that runs must not overlap?
bool em_module_keeps_state(const em_module* module);
// Does forward leave the memory of this input alone, so that it may be read in place?
bool em_module_reads_only(const em_module* module, size_t input);
// Runs forward. `outputs` takes `output_count` tensors, found by their names if forward returns a dictionary.
int em_module_forward(em_module* module, void* const* inputs, size_t input_count, const char* const* names,
                      void** outputs, size_t output_count);

// A stream of its own for the calling thread, and four marks on it. Does nothing on the processor.
int em_lane_new(int device, em_lane** lane);
void em_lane_free(em_lane* lane);
// Which stream, as the device numbers them.
int64_t em_lane_stream(const em_lane* lane);
// Sets mark `index`, after all work so far.
int em_lane_mark(em_lane* lane, int index);
// Waits until mark `index` is reached.
int em_lane_wait(em_lane* lane, int index);
// Time on the device between two marks that were reached.
int em_lane_elapsed(em_lane* lane, int from, int to, double* milliseconds);

// Counts what the calling thread allocates on a device from here to em_meter_stop.
int em_meter_start(int device, em_meter** meter);
// Bytes still held, and the most that were held at once.
int em_meter_stop(em_meter* meter, int64_t* held, int64_t* peak);
}
