// The C interface moved; this is where bindings look for it.
#include "tensorflow/lite/core/c/c_api.h"
