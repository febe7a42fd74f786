/* A driver's management library for tests: it says what the file GPUS says at each call, one line a GPU:
 * INDEX UUID TEMPERATURE CLOCK LIMIT_MW TOTAL RESERVED USED; "lost" as the temperature is a GPU that fell off the bus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

struct gpu {
    unsigned index;
    char uuid[32], temperature[16];
    unsigned clock;
    long limit;
    unsigned long long total, reserved, used;
};

struct memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

static int gpus(struct gpu *all)
{
    FILE *file = fopen(GPUS, "r");
    int count = 0;
    struct gpu *g = all;
    while (file && count < 8 && fscanf(file, "%u %31s %15s %u %ld %llu %llu %llu", &g->index, g->uuid, g->temperature,
                                       &g->clock, &g->limit, &g->total, &g->reserved, &g->used) == 8)
        g = &all[++count];
    if (file)
        fclose(file);
    return count;
}

/* Handles are indices, from 1. */
static int gpu(void *handle, struct gpu *found)
{
    struct gpu all[9];
    size_t at = (size_t)handle - 1;
    if (at >= (size_t)gpus(all))
        return LOST;
    *found = all[at];
    return strcmp(found->temperature, "lost") ? SUCCESS : LOST;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { return snprintf(text, length, "580.65.06"), SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    struct gpu all[9];
    *count = (unsigned)gpus(all);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    struct gpu all[9];
    *handle = (void *)((size_t)index + 1);
    return index < (unsigned)gpus(all) ? SUCCESS : INVALID;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle)
{
    struct gpu all[9];
    int count = gpus(all);
    for (int at = 0; at < count; at++)
        if (!strncmp(uuid, "GPU-", 4) && !strcmp(uuid + 4, all[at].uuid))
            return *handle = (void *)((size_t)at + 1), SUCCESS;
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(void *handle, unsigned *index)
{
    struct gpu g;
    int rc = gpu(handle, &g);
    return *index = rc ? 0 : g.index, rc;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length)
{
    struct gpu g;
    int rc = gpu(handle, &g);
    return snprintf(text, length, "GPU-%s", rc ? "" : g.uuid), rc;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length)
{
    (void)handle;
    return snprintf(text, length, "Made-up GPU"), SUCCESS;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *value)
{
    struct gpu g;
    int rc = gpu(handle, &g);
    (void)sensor;
    return *value = rc ? 0 : (unsigned)atoi(g.temperature), rc;
}

int nvmlDeviceGetClockInfo(void *handle, int kind, unsigned *value)
{
    struct gpu g;
    int rc = gpu(handle, &g);
    (void)kind;
    return *value = rc ? 0 : g.clock, rc;
}

int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *value)
{
    struct gpu g;
    int rc = gpu(handle, &g);
    if (!rc && g.limit < 0)
        return UNSUPPORTED;
    return *value = rc ? 0 : (unsigned)g.limit, rc;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory *memory)
{
    struct gpu g;
    int rc = gpu(handle, &g);
    if (!rc) {
        memory->total = g.total;
        memory->reserved = g.reserved;
        memory->used = g.used;
        memory->free = g.total - g.reserved - g.used;
    }
    return rc;
}
