// As much of the XNNPACK delegate's interface as is called. The library fills its options by value and knows more of them
// than are named here: there is room for 512 bytes in all, four times what any release has had.
#pragma once

#include <stdint.h>

#include "tensorflow/lite/core/c/common.h"

typedef struct {
  int32_t num_threads;
  uint8_t reserved[508];
} TfLiteXNNPackDelegateOptions;

TfLiteXNNPackDelegateOptions TfLiteXNNPackDelegateOptionsDefault(void);
TfLiteDelegate* TfLiteXNNPackDelegateCreate(const TfLiteXNNPackDelegateOptions* options);
void TfLiteXNNPackDelegateDelete(TfLiteDelegate* delegate);
