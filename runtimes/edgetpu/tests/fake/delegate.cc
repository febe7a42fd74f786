// A delegate that stands in for libedgetpu: it claims the compiled operators and computes them, keeps the driver's rule for
// weights on the chip, and has the faults that a real device can have.
//
// What an operator does is a word in its options, where libedgetpu would find a program for the chip: "fake:copy;". What
// its weights cost is there too: "token:7;cached:1000;".
//
// Options of the delegate: "device" must be one of "there" (by default ":0"); "fault" says what goes wrong when it is made;
// "service-us" and "reload-us" are how long a run and a reload take.

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tensorflow/lite/core/c/common.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

static const char* const kOperator = "edgetpu-custom-op";

// What the driver remembers; one device per process.
static struct {
  unsigned long long token;
  // Counts how often all weights were forgotten.
  unsigned long long epoch;
} chip = {0, 1};

struct Fake {
  TfLiteDelegate delegate;
  bool claims;
  long service_us;
  long reload_us;
};

struct Operator {
  Fake* fake;
  char program[32];
  unsigned long long token;
  bool caches;
  // The epoch in which its weights were brought to the chip.
  unsigned long long there;
};

static void crash() {
  static int* volatile nowhere = nullptr;
  *nowhere = 1;
}

static void wait_us(long us) {
  timespec left = {us / 1000000, us % 1000000 * 1000};
  while (nanosleep(&left, &left) != 0) {
  }
}

// The text between `name` and ';' in an operator's options, "" if it is not there.
static void word(const TfLiteNode* node, const char* name, char* into, size_t room) {
  const char* options = static_cast<const char*>(node->custom_initial_data);
  size_t size = node->custom_initial_data_size;
  const char* found = options ? static_cast<const char*>(memmem(options, size, name, strlen(name))) : nullptr;
  size_t length = 0;
  if (found) {
    for (found += strlen(name); found < options + size && *found != ';' && length + 1 < room; ++found) {
      into[length++] = *found;
    }
  }
  into[length] = 0;
}

// === the kernel ===

static void* kernel_init(TfLiteContext* context, const char* buffer, size_t) {
  const TfLiteDelegateParams* params = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  TfLiteNode* node;
  TfLiteRegistration* registration;
  if (context->GetNodeAndRegistration(context, params->nodes_to_replace->data[0], &node, &registration) != kTfLiteOk) {
    return nullptr;
  }
  Operator* self = new Operator();
  self->fake = reinterpret_cast<Fake*>(params->delegate);
  char number[32];
  word(node, "fake:", self->program, sizeof(self->program));
  word(node, "token:", number, sizeof(number));
  self->token = strtoull(number, nullptr, 10);
  word(node, "cached:", number, sizeof(number));
  self->caches = strtoull(number, nullptr, 10) > 0;
  return self;
}

static void kernel_free(TfLiteContext*, void* buffer) { delete static_cast<Operator*>(buffer); }

static TfLiteTensor* tensor(TfLiteContext* context, const TfLiteIntArray* numbers, int place) {
  return &context->tensors[numbers->data[place]];
}

// Every output has the shape of the first input.
static TfLiteStatus kernel_prepare(TfLiteContext* context, TfLiteNode* node) {
  if (!node->user_data) return kTfLiteError;
  const TfLiteIntArray* shape = tensor(context, node->inputs, 0)->dims;
  for (int place = 0; place < node->outputs->size; ++place) {
    size_t bytes = sizeof(TfLiteIntArray) + sizeof(int) * shape->size;
    auto* copy = static_cast<TfLiteIntArray*>(malloc(bytes));
    memcpy(copy, shape, bytes);
    if (context->ResizeTensor(context, tensor(context, node->outputs, place), copy) != kTfLiteOk) return kTfLiteError;
  }
  return kTfLiteOk;
}

static bool all_zero(const TfLiteTensor* x) {
  for (size_t at = 0; at < x->bytes; ++at) {
    if (x->data.raw[at] != 0) return false;
  }
  return true;
}

static signed char bounded(int value) { return value > 127 ? 127 : value < -128 ? -128 : value; }

static TfLiteStatus compute(TfLiteContext* context, TfLiteNode* node, const char* program) {
  const TfLiteTensor* x = tensor(context, node->inputs, 0);
  TfLiteTensor* y = tensor(context, node->outputs, 0);
  if (strcmp(program, "sum-and-difference") == 0) {
    const TfLiteTensor* b = tensor(context, node->inputs, 1);
    TfLiteTensor* difference = tensor(context, node->outputs, 1);
    if (b->bytes != x->bytes) return kTfLiteError;
    for (size_t at = 0; at < x->bytes / sizeof(float); ++at) {
      y->data.f[at] = x->data.f[at] + b->data.f[at];
      difference->data.f[at] = x->data.f[at] - b->data.f[at];
    }
    return kTfLiteOk;
  }
  if (strcmp(program, "double") == 0) {
    // In the integers' worth, which is the same on both sides.
    int zero = x->params.zero_point;
    for (size_t at = 0; at < x->bytes; ++at) y->data.int8[at] = bounded(2 * (x->data.int8[at] - zero) + zero);
    return kTfLiteOk;
  }
  // What goes wrong does so only when a client asks, not when the model is warmed up on zeros.
  if (!all_zero(x)) {
    if (strcmp(program, "crash") == 0) crash();
    if (strcmp(program, "hang") == 0) {
      for (;;) pause();
    }
    if (strcmp(program, "fail") == 0) return kTfLiteError;
    if (strcmp(program, "slow") == 0) wait_us(600 * 1000000L);
  }
  if (y->bytes != x->bytes) return kTfLiteError;
  memcpy(y->data.raw, x->data.raw, x->bytes);
  return kTfLiteOk;
}

static TfLiteStatus kernel_invoke(TfLiteContext* context, TfLiteNode* node) {
  auto* self = static_cast<Operator*>(node->user_data);
  if (self->token != chip.token) {
    chip.token = 0;
    ++chip.epoch;
  }
  if (self->caches && self->there != chip.epoch) {
    chip.token = self->token;
    self->there = chip.epoch;
    wait_us(self->fake->reload_us);
  }
  wait_us(self->fake->service_us);
  return compute(context, node, self->program);
}

// === the delegate ===

static TfLiteStatus prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  auto* fake = reinterpret_cast<Fake*>(delegate);
  if (!fake->claims) return kTfLiteOk;
  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  int claimed[64], count = 0;
  for (int place = 0; place < plan->size && count < 64; ++place) {
    TfLiteNode* node;
    TfLiteRegistration* registration;
    if (context->GetNodeAndRegistration(context, plan->data[place], &node, &registration) != kTfLiteOk) return kTfLiteError;
    if (registration->custom_name && strcmp(registration->custom_name, kOperator) == 0) claimed[count++] = plan->data[place];
  }
  TfLiteRegistration kernel = {};
  kernel.init = kernel_init;
  kernel.free = kernel_free;
  kernel.prepare = kernel_prepare;
  kernel.invoke = kernel_invoke;
  kernel.custom_name = "FakeDelegate";
  kernel.version = 1;
  for (int place = 0; place < count; ++place) {
    auto* one = static_cast<TfLiteIntArray*>(malloc(sizeof(TfLiteIntArray) + sizeof(int)));
    one->size = 1;
    one->data[0] = claimed[place];
    TfLiteStatus replaced = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, one, delegate);
    free(one);
    if (replaced != kTfLiteOk) return kTfLiteError;
  }
  return kTfLiteOk;
}

static bool is_there(const char* there, const char* device) {
  size_t length = strlen(device);
  for (const char* at = there; (at = strstr(at, device)); at += length) {
    bool begins = at == there || at[-1] == ',';
    if (begins && (at[length] == ',' || at[length] == 0)) return true;
  }
  return false;
}

EXPORT TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count,
                                                     void (*)(const char*)) {
  const char *device = "", *there = ":0", *fault = "";
  Fake* fake = new Fake();
  fake->claims = true;
  for (size_t at = 0; at < count; ++at) {
    if (strcmp(keys[at], "device") == 0) device = values[at];
    if (strcmp(keys[at], "there") == 0) there = values[at];
    if (strcmp(keys[at], "fault") == 0) fault = values[at];
    if (strcmp(keys[at], "service-us") == 0) fake->service_us = atol(values[at]);
    if (strcmp(keys[at], "reload-us") == 0) fake->reload_us = atol(values[at]);
  }
  if (strcmp(fault, "crashes") == 0) crash();
  if (strcmp(fault, "hangs") == 0) {
    for (;;) pause();
  }
  // "gone:FILE": there for as long as the file is.
  bool gone = strncmp(fault, "gone:", 5) == 0 && access(fault + 5, F_OK) != 0;
  if (strcmp(fault, "refuses") == 0 || gone || !is_there(there, device)) {
    delete fake;
    return nullptr;
  }
  if (strcmp(fault, "claims-nothing") == 0) fake->claims = false;
  fake->delegate.Prepare = prepare;
  fake->delegate.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return &fake->delegate;
}

EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) { delete reinterpret_cast<Fake*>(delegate); }

EXPORT const char* edgetpu_version(void) { return "fake 1"; }
