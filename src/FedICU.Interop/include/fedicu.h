/*
 * The C interface of FedICU.Core: federated-learning aggregators for programs in any language. Version 1.
 *
 * Every function returns a status and throws no exception, except fedicu_abi_version, fedicu_last_error and
 * fedicu_live_handles, which return their value and cannot fail. fedicu_last_error returns the message of the calling
 * thread's last failure.
 *
 * Strings are UTF-8 and end with a zero byte. Arguments are borrowed for the call, unless a function says otherwise.
 * Several threads may use a handle: calls on it wait for each other, except fedicu_abort, which ends a running
 * fedicu_finish.
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
    FEDICU_INVALID_ARGUMENT = 1, /* a null pointer, an unknown handle, or a tensor whose fields contradict each other */
    FEDICU_INVALID_OPTIONS = 2,  /* an unknown strategy, setting or value */
    FEDICU_INVALID_MODEL = 3,    /* a model's file or tensors are invalid */
    FEDICU_ROUND_REJECTED = 4,   /* refused by the policies; the round is kept and may get more clients */
    FEDICU_WRONG_STATE = 5,      /* no round has begun, or there is no result yet */
    FEDICU_IO = 6,               /* a file cannot be read or written */
    FEDICU_OUT_OF_MEMORY = 7,
    FEDICU_ABORTED = 8,          /* fedicu_abort was called */
    FEDICU_BUFFER_TOO_SMALL = 9, /* the required length was stored */
    FEDICU_INTERNAL = 99         /* a bug in the library */
} fedicu_status;

/* A tensor in the caller's memory: little-endian, row-major, without gaps. */
typedef struct fedicu_tensor {
    const char *name;
    const char *dtype;    /* a safetensors type: "F32", "F16", "BF16", "F64", "I64", ... */
    int32_t rank;
    const int64_t *shape; /* rank lengths; may be null if rank is 0 */
    void *data;           /* nbytes bytes, aligned to the element; only results are written to */
    uint64_t nbytes;
} fedicu_tensor;

/* Flags of fedicu_set_global, fedicu_add, fedicu_add_adapter, fedicu_add_update and fedicu_set_control. */

/* The tensors are copied. The caller may reuse the memory after the call. */
#define FEDICU_COPY 0u
/*
 * The tensors are borrowed. Their memory must stay valid and unchanged until the round is finished or aborted, another
 * round begins, or the handle is destroyed. Names and shapes are copied.
 */
#define FEDICU_BORROW 1u
/* For fedicu_add: the tensors are y - x, the change by training, and not the parameters y. */
#define FEDICU_DELTA 2u
/*
 * For fedicu_add and fedicu_add_adapter: the client states no weight, and the argument is not read. If no client states
 * one, each weighs 1. If others do, the policy on-weight applies.
 */
#define FEDICU_UNWEIGHTED 4u

typedef int64_t fedicu_handle; /* 0 is no handle */

/* For fedicu_add_fault: what is wrong with a client whose update cannot be added. */
typedef enum fedicu_fault {
    FEDICU_FAULT_UNREADABLE = 1, /* its update cannot be decoded: the policy on-unreadable applies */
    FEDICU_FAULT_WEIGHT = 2      /* its weight is not a number: the policy on-weight applies */
} fedicu_fault;

int32_t fedicu_abi_version(void);

/* The message of this thread's last failure; "" if there was none. Valid until the thread's next call. */
const char *fedicu_last_error(void);

/* The number of handles, of aggregators and of updates, that were created and not destroyed. */
int64_t fedicu_live_handles(void);

/*
 * Copies the strategies that fedicu_create knows, in JSON, like fedicu_report_json:
 * {"strategies": [{"name", "summary", "paper", "options": [{"name", "values", "default", "summary"}]}],
 *  "roundOptions": [...]}.
 * Every strategy takes the roundOptions too.
 */
int32_t fedicu_strategies(char *buffer, uint64_t capacity, uint64_t *length);

/*
 * Creates an aggregator. Free it with fedicu_destroy. The options are JSON:
 * {"strategy": "krum,fedadam", "settings": {"krum.byzantine": 1, "server-lr": "0.1"}, "state": "server.safetensors",
 *  "threads": 0, "backend": "simd", "statistics": false}.
 * Only the strategy is required. Strategies, settings and values are those of the command line.
 * "state" is the file in which a rule keeps its state between rounds. It is replaced with each new model. Without it
 * the state lives in memory as long as the handle. "stateOut" is written in place of "state", which then must exist:
 * for programs that run one round.
 */
int32_t fedicu_create(const char *options_json, fedicu_handle *handle);

/* Frees an aggregator and its copies, after a running fedicu_finish has ended. 0 does nothing. */
int32_t fedicu_destroy(fedicu_handle handle);

/* Begins a round and drops an unfinished one. The round's number (-1: none) is stored in the result's metadata. */
int32_t fedicu_begin_round(fedicu_handle handle, int64_t round);

/*
 * Sets the model that the clients trained, in memory or as a file or folder of safetensors. Updates must have its
 * names, types and shapes.
 */
int32_t fedicu_set_global(fedicu_handle handle, int64_t count, const fedicu_tensor *tensors, uint32_t flags);
int32_t fedicu_set_global_file(fedicu_handle handle, const char *path);

/*
 * The same for a PEFT adapter in memory. The configuration is the content of its adapter_config.json: it states ranks
 * and scalings, and must agree with the clients' as the policy on-config says.
 */
int32_t fedicu_set_global_adapter(fedicu_handle handle, const char *config_json, int64_t count, const fedicu_tensor *tensors,
                                  uint32_t flags);

/*
 * Adds a client's update. The weight is the client's number of examples. The policies apply while the round finishes:
 * - on-weight, if the weight is NaN, negative or infinite, or if some clients state a weight and others do not;
 * - on-dtype, if a tensor's dtype is unknown. Of the tensor's other fields only the name is read.
 * For files a weight of NaN means the num_examples of the file's metadata; without it the client states no weight.
 * Files are read while the round finishes.
 */
int32_t fedicu_add(fedicu_handle handle, const char *client, double weight, int64_t count, const fedicu_tensor *tensors,
                   uint32_t flags);
int32_t fedicu_add_file(fedicu_handle handle, const char *client, double weight, const char *path);

/*
 * Adds a client's PEFT adapter, like fedicu_add, with the content of its adapter_config.json. With the strategies
 * flexlora, flora and hetlora its ranks and alphas may differ from the global adapter's. The policy on-unreadable
 * applies if the configuration cannot be read.
 */
int32_t fedicu_add_adapter(fedicu_handle handle, const char *client, double weight, const char *config_json, int64_t count,
                           const fedicu_tensor *tensors, uint32_t flags);

/*
 * Adds an update made by fedicu_mask: its tensors and its metadata in JSON. A weight of NaN means the num_examples of
 * the metadata; without it the client states no weight.
 */
int32_t fedicu_add_update(fedicu_handle handle, const char *client, double weight, const char *metadata_json, int64_t count,
                          const fedicu_tensor *tensors, uint32_t flags);

/*
 * Adds a client whose update cannot be added, so that the round's policies, quorum and report include it. The reason is
 * the end of a sentence that begins with the client's name.
 */
int32_t fedicu_add_fault(fedicu_handle handle, const char *client, int32_t fault, const char *reason);

/*
 * Sets what a client that was added states about its training. Some strategies need it. All keys are optional:
 * {"local_steps": 20, "loss": 0.25, "staleness": 1, "normalizer": 12.5, "control": "control.safetensors"}.
 * A number that is missing is read from the update's metadata. The policy on-statement applies to a value that the
 * strategy reads, and that is missing, no number or out of its range. Text is read as a number, like metadata.
 * "control" is the path of scaffold's control variates. fedicu_set_control sets them from memory: a tensor for each
 * floating-point tensor of the model.
 */
int32_t fedicu_set_statements(fedicu_handle handle, const char *client, const char *statements_json);
int32_t fedicu_set_control(fedicu_handle handle, const char *client, int64_t count, const fedicu_tensor *tensors, uint32_t flags);

/*
 * Aggregates the round. fedicu_finish writes into tensors that the caller allocated: those of the global model, in any
 * order. After a failure they may hold anything. fedicu_finish_file writes a file or folder of safetensors, which
 * appears whole or not at all. Success ends the round. FEDICU_ROUND_REJECTED keeps it.
 */
int32_t fedicu_finish(fedicu_handle handle, int64_t count, const fedicu_tensor *tensors);
int32_t fedicu_finish_file(fedicu_handle handle, const char *path);

/*
 * Aggregates the round into memory of the library, for strategies that change shapes: flora, hetlora, and flexlora with
 * a rank. Read the model with the functions of updates below, its adapter_config.json with fedicu_update_config_json,
 * and free it with fedicu_update_destroy.
 */
int32_t fedicu_finish_model(fedicu_handle handle, fedicu_handle *model);

/* Drops the round. A fedicu_finish that runs on another thread ends with FEDICU_ABORTED. */
int32_t fedicu_abort(fedicu_handle handle);

/*
 * Copies the report of the last result, in JSON. length receives the number of bytes, including the zero byte, which
 * the buffer must hold. With a null buffer only the length is stored.
 */
int32_t fedicu_report_json(fedicu_handle handle, char *buffer, uint64_t capacity, uint64_t *length);

/*
 * Copies what the aggregator must keep from round to round, in JSON, like fedicu_report_json: its strategy and the last
 * round's number. Import refuses the state of another strategy or version. A rule's tensors are not in it: keep them in
 * the file "state". Import refuses a state that counts rounds in a memory which the handle does not have.
 */
int32_t fedicu_export_state(fedicu_handle handle, char *buffer, uint64_t capacity, uint64_t *length);
int32_t fedicu_import_state(fedicu_handle handle, const char *state_json);

/*
 * For clients: makes a sparse update of the trained values that are more important than the received ones. The server
 * keeps the received values of the others. The options are JSON:
 * {"settings": {"mask": "top=0.1"}, "threads": 0, "round": 3, "dense": false}.
 * momentum is the momentum of the previous round, or null. momentum_out receives the new momentum, or is null: tensors
 * with the model's names and shapes, of type F32 (F64 for F64). Both may be the same memory. For tensors that are not
 * trained (integers) nothing is read or written in either. Read the update with the functions below and free it with
 * fedicu_update_destroy.
 */
int32_t fedicu_mask(const char *options_json, int64_t count, const fedicu_tensor *global, const fedicu_tensor *local,
                    const fedicu_tensor *momentum, const fedicu_tensor *momentum_out, fedicu_handle *update);

/*
 * Cuts a LoRA adapter to a smaller rank: each pair gets the best factors of its own product. A pair of that rank or a
 * smaller one keeps its rank. The options are JSON: {"rank": 8, "loraScaling": 2, "threads": 0}. Only the rank is
 * required. config_json is the adapter's adapter_config.json; or null, and loraScaling states its scaling alpha / r.
 * Read the new adapter with the functions below and free it with fedicu_update_destroy.
 */
int32_t fedicu_adapt(const char *options_json, const char *config_json, int64_t count, const fedicu_tensor *tensors,
                     fedicu_handle *adapter);

int32_t fedicu_update_count(fedicu_handle update, int64_t *count);

/* Describes tensor i. Name, shape and data belong to the update and are valid until it is destroyed. */
int32_t fedicu_update_tensor(fedicu_handle update, int64_t i, fedicu_tensor *tensor);

/* Copies the update's metadata, like fedicu_report_json: a JSON object of strings, as safetensors has it. */
int32_t fedicu_update_metadata_json(fedicu_handle update, char *buffer, uint64_t capacity, uint64_t *length);

/* Copies the adapter_config.json of an adapter, like fedicu_report_json; "" if it has none. */
int32_t fedicu_update_config_json(fedicu_handle update, char *buffer, uint64_t capacity, uint64_t *length);
int32_t fedicu_update_save(fedicu_handle update, const char *path);
int32_t fedicu_update_destroy(fedicu_handle update);

/*
 * FedProx: value = mu / 2 ||local - global||^2. Unless gradient is null, gradient += mu (local - global). All tensors
 * must have the same floating-point type and the same shape.
 */
int32_t fedicu_proximal(double mu, const fedicu_tensor *local, const fedicu_tensor *global, const fedicu_tensor *gradient,
                        double *value);

#ifdef __cplusplus
}
#endif
#endif
