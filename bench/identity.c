/*
 * A native Triton backend that answers every request with a copy of its input: the least work a backend can do, so that
 * what is measured is the server's path and not the model.
 *
 * The few declarations of Triton's backend API that it uses are written out here; the server that loads the library
 * resolves them. Build: cc -O2 -shared -fPIC -o libtriton_identity.so identity.c
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef struct Error Error; /* NULL means success */
typedef struct Instance Instance;
typedef struct Request Request;
typedef struct Response Response;
typedef struct Input Input;
typedef struct Output Output;

enum { MEMORY_CPU = 0, RESPONSE_FINAL = 1, RELEASE_ALL = 1, ERROR_INTERNAL = 1 };

Error *TRITONSERVER_ErrorNew(int code, const char *message);
void TRITONSERVER_ErrorDelete(Error *error);
Error *TRITONBACKEND_RequestInputByIndex(Request *request, uint32_t index, Input **input);
Error *TRITONBACKEND_InputProperties(Input *input, const char **name, int *datatype, const int64_t **shape,
                                     uint32_t *dimensions, uint64_t *bytes, uint32_t *buffers);
Error *TRITONBACKEND_InputBuffer(Input *input, uint32_t index, const void **buffer, uint64_t *bytes, int *memory,
                                 int64_t *memory_id);
Error *TRITONBACKEND_ResponseNew(Response **response, Request *request);
Error *TRITONBACKEND_ResponseOutput(Response *response, Output **output, const char *name, int datatype,
                                    const int64_t *shape, uint32_t dimensions);
Error *TRITONBACKEND_OutputBuffer(Output *output, void **buffer, uint64_t bytes, int *memory, int64_t *memory_id);
Error *TRITONBACKEND_ResponseSend(Response *response, uint32_t flags, Error *error);
Error *TRITONBACKEND_RequestRelease(Request *request, uint32_t flags);
Error *TRITONBACKEND_ModelInstanceReportStatistics(Instance *instance, Request *request, bool success,
                                                   uint64_t execute_start_ns, uint64_t compute_start_ns,
                                                   uint64_t compute_end_ns, uint64_t execute_end_ns);
Error *TRITONBACKEND_ModelInstanceReportBatchStatistics(Instance *instance, uint64_t batch_size,
                                                        uint64_t execute_start_ns, uint64_t compute_start_ns,
                                                        uint64_t compute_end_ns, uint64_t execute_end_ns);

#define TRY(call)                   \
    do {                            \
        Error *failed_ = (call);    \
        if (failed_) return failed_; \
    } while (0)

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* the clock of the arrival times that Triton subtracts */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static Error *copy(Request *request, Response *response) {
    Input *input;
    Output *output;
    const char *name;
    const int64_t *shape;
    const void *from;
    void *to;
    int datatype, memory = MEMORY_CPU;
    uint32_t dimensions, buffers;
    uint64_t bytes, part;
    int64_t memory_id = 0;

    TRY(TRITONBACKEND_RequestInputByIndex(request, 0, &input));
    TRY(TRITONBACKEND_InputProperties(input, &name, &datatype, &shape, &dimensions, &bytes, &buffers));
    TRY(TRITONBACKEND_ResponseOutput(response, &output, "OUTPUT0", datatype, shape, dimensions));
    TRY(TRITONBACKEND_OutputBuffer(output, &to, bytes, &memory, &memory_id));
    if (memory > 1) return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "identity: the output buffer is not in CPU memory");
    for (uint32_t i = 0; i < buffers; i++) {
        memory = MEMORY_CPU;
        TRY(TRITONBACKEND_InputBuffer(input, i, &from, &part, &memory, &memory_id));
        if (memory > 1) return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "identity: the input buffer is not in CPU memory");
        memcpy(to, from, part);
        to = (char *)to + part;
    }
    return NULL;
}

__attribute__((visibility("default"))) Error *TRITONBACKEND_ModelInstanceExecute(Instance *instance, Request **requests,
                                                                                 uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        Response *response;
        uint64_t start_ns = now_ns();
        TRY(TRITONBACKEND_ResponseNew(&response, requests[i]));
        Error *failed = copy(requests[i], response);
        uint64_t end_ns = now_ns();
        bool success = failed == NULL;
        TRITONBACKEND_ResponseSend(response, RESPONSE_FINAL, failed);
        if (failed) TRITONSERVER_ErrorDelete(failed);
        TRITONBACKEND_ModelInstanceReportStatistics(instance, requests[i], success, start_ns, start_ns, end_ns, end_ns);
        if (success) TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, 1, start_ns, start_ns, end_ns, end_ns);
        TRITONBACKEND_RequestRelease(requests[i], RELEASE_ALL);
    }
    return NULL;
}
