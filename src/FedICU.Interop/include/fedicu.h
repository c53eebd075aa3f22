/*
 * FedICU.Core's C interface: federated-learning aggregators for programs in any language. Version 1.
 *
 * Every function returns a status and lets no exception through. fedicu_last_error gives the sentence of the last failure on the calling thread.
 * Strings are UTF-8 and end in a zero byte; what is passed in is borrowed for the call, unless a function says otherwise. Handles may be used from
 * several threads; calls on one handle wait for each other, but for fedicu_abort, which ends a fedicu_finish under way.
 */
#ifndef FEDICU_H
#define FEDICU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FEDICU_ABI_VERSION 1

typedef enum fedicu_status {
    FEDICU_OK = 0,
    FEDICU_INVALID_ARGUMENT = 1, /* a null pointer, an unknown handle, a tensor whose numbers contradict each other */
    FEDICU_INVALID_OPTIONS = 2,  /* an unknown strategy, setting or value */
    FEDICU_INVALID_MODEL = 3,    /* a model's file or tensors are not as they should be */
    FEDICU_ROUND_REJECTED = 4,   /* the policies refuse the round; it stays as it was, and may be finished again with more clients */
    FEDICU_WRONG_STATE = 5,      /* no round was begun, or there is no result yet */
    FEDICU_IO = 6,               /* a file cannot be read or written */
    FEDICU_OUT_OF_MEMORY = 7,
    FEDICU_ABORTED = 8,          /* by fedicu_abort */
    FEDICU_BUFFER_TOO_SMALL = 9, /* the length wanted was stored */
    FEDICU_INTERNAL = 99         /* a fault of the library's own */
} fedicu_status;

/* A tensor in the caller's memory: little-endian, row-major, without gaps. */
typedef struct fedicu_tensor {
    const char *name;
    const char *dtype;    /* safetensors' name: "F32", "F16", "BF16", "F64", "I64", ... */
    int32_t rank;
    const int64_t *shape; /* rank lengths; may be null where rank is 0 */
    void *data;           /* nbytes bytes, aligned to the element's size; only what takes results is written to */
    uint64_t nbytes;
} fedicu_tensor;

/* Flags of fedicu_set_global, fedicu_add and fedicu_add_update. */
#define FEDICU_COPY 0u   /* tensors are copied: the memory is the caller's again after the call */
#define FEDICU_BORROW 1u /* the memory stays valid and unchanged until the round is finished, begun anew or aborted, or the handle destroyed; names and shapes are copied */
#define FEDICU_DELTA 2u  /* fedicu_add: the tensors are y - x, what training changed, and not parameters y */

typedef int64_t fedicu_handle; /* 0 is none */

/* What may be wrong with a client's update before there are tensors, for fedicu_add_fault. */
typedef enum fedicu_fault {
    FEDICU_FAULT_UNREADABLE = 1, /* its bytes are no tensors: on-unreadable decides */
    FEDICU_FAULT_WEIGHT = 2      /* its weight is no number: on-weight decides */
} fedicu_fault;

int32_t fedicu_abi_version(void);

/* The sentence of the last failure on this thread; "" where there was none. Valid until the thread's next call. */
const char *fedicu_last_error(void);

/* Handles of both kinds that were created and not destroyed. */
int64_t fedicu_live_handles(void);

/*
 * Creates an aggregator. Options in JSON: {"strategy": "fedicu", "settings": {"tau": "0.5"}, "threads": 0, "backend": "simd", "statistics": false};
 * all may be left out but the strategy. Strategies, settings and values are those of the command line. Free with fedicu_destroy.
 */
int32_t fedicu_create(const char *options_json, fedicu_handle *handle);

/* Frees an aggregator and what it borrowed or copied; waits for a fedicu_finish under way. 0 does nothing. */
int32_t fedicu_destroy(fedicu_handle handle);

/* Begins a round; what a round before had and did not finish is dropped. Its number (-1: none) is kept with the result's metadata. */
int32_t fedicu_begin_round(fedicu_handle handle, int64_t round);

/* The model that the clients trained, in memory or a file or folder of safetensors: names, types and shapes that updates are held against. */
int32_t fedicu_set_global(fedicu_handle handle, int64_t count, const fedicu_tensor *tensors, uint32_t flags);
int32_t fedicu_set_global_file(fedicu_handle handle, const char *path);

/*
 * Adds a client's update. Its weight is the number of its examples; what cannot be a weight (NaN, negative, infinite) falls under on-weight while finishing. A tensor whose
 * dtype is none of safetensors' falls under on-dtype; of its other fields only the name is read. Of files, a weight of NaN takes what the metadata say, otherwise 1.
 * Files are read while finishing.
 */
int32_t fedicu_add(fedicu_handle handle, const char *client, double weight, int64_t count, const fedicu_tensor *tensors, uint32_t flags);
int32_t fedicu_add_file(fedicu_handle handle, const char *client, double weight, const char *path);

/* Adds an update as fedicu_mask makes it: its tensors, and in JSON the metadata that go with them. NaN takes the metadata's num_examples, otherwise 1. */
int32_t fedicu_add_update(fedicu_handle handle, const char *client, double weight, const char *metadata_json, int64_t count, const fedicu_tensor *tensors, uint32_t flags);

/* Adds a client of which nothing can be added, for a reason (a sentence that begins after the client's name), so that the round's policies, quorum and report know of it. */
int32_t fedicu_add_fault(fedicu_handle handle, const char *client, int32_t fault, const char *reason);

/*
 * Aggregates into tensors that the caller allocated, those of the global model in any order, or into a file or folder of safetensors, which appears whole or not at
 * all. Tensors may hold anything after a failure. On success the round is over; on FEDICU_ROUND_REJECTED it stays.
 */
int32_t fedicu_finish(fedicu_handle handle, int64_t count, const fedicu_tensor *tensors);
int32_t fedicu_finish_file(fedicu_handle handle, const char *path);

/* Drops the round; a fedicu_finish under way on another thread ends with FEDICU_ABORTED. */
int32_t fedicu_abort(fedicu_handle handle);

/* The last result's report in JSON: with its zero byte `length` bytes, of which the buffer must have room; a null buffer asks for the length. */
int32_t fedicu_report_json(fedicu_handle handle, char *buffer, uint64_t capacity, uint64_t *length);

/* What the aggregator must remember from round to round, in JSON, as fedicu_report_json gives it; import refuses another strategy's or version's. */
int32_t fedicu_export_state(fedicu_handle handle, char *buffer, uint64_t capacity, uint64_t *length);
int32_t fedicu_import_state(fedicu_handle handle, const char *state_json);

/*
 * The client's side: makes a sparse update of what training changed more than the received model's importance says. Options in JSON: {"settings": {"mask": "top=0.1"},
 * "threads": 0, "round": 3, "dense": false}. momentum: that of the round before, or null; momentum_out: takes the new one, F32 tensors (F64 for F64) of the model's names
 * and shapes, or null; it may be the same memory. Of tensors that are not trained (integers) nothing is read or written in both. The update is read with the functions
 * below and freed with fedicu_update_destroy.
 */
int32_t fedicu_mask(const char *options_json, int64_t count, const fedicu_tensor *global, const fedicu_tensor *local, const fedicu_tensor *momentum,
                    const fedicu_tensor *momentum_out, fedicu_handle *update);
int32_t fedicu_update_count(fedicu_handle update, int64_t *count);

/* Tensor i: name, shape and data are the update's, valid until it is destroyed. */
int32_t fedicu_update_tensor(fedicu_handle update, int64_t i, fedicu_tensor *tensor);

/* What goes with the tensors: a JSON object of strings, safetensors' metadata. */
int32_t fedicu_update_metadata_json(fedicu_handle update, char *buffer, uint64_t capacity, uint64_t *length);
int32_t fedicu_update_save(fedicu_handle update, const char *path);
int32_t fedicu_update_destroy(fedicu_handle update);

/* FedProx: value = mu / 2 ||local - global||^2; where gradient is not null, gradient += mu (local - global). All of one type of floating point and one shape. */
int32_t fedicu_proximal(double mu, const fedicu_tensor *local, const fedicu_tensor *global, const fedicu_tensor *gradient, double *value);

#ifdef __cplusplus
}
#endif
#endif
