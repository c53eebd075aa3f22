/* Calls every function of the C interface, correctly and wrongly, and checks that 10,000 refusals leak no handles. */
#include <fedicu.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                                                                   \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            failures++;                                                                                                                    \
            printf("%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, fedicu_last_error());                                    \
        }                                                                                                                                  \
    } while (0)

#define ROWS 6
#define COLUMNS 5
#define COUNT (ROWS * COLUMNS)

static const int64_t matrix[2] = {ROWS, COLUMNS}, vector[1] = {3};

static void describe(fedicu_tensor *tensors, float *w, float *b)
{
    tensors[0].name = "w";
    tensors[0].dtype = "F32";
    tensors[0].rank = 2;
    tensors[0].shape = matrix;
    tensors[0].data = w;
    tensors[0].nbytes = COUNT * sizeof(float);
    tensors[1].name = "b";
    tensors[1].dtype = "F32";
    tensors[1].rank = 1;
    tensors[1].shape = vector;
    tensors[1].data = b;
    tensors[1].nbytes = 3 * sizeof(float);
}

static void fill(float *values, int count, unsigned seed)
{
    int i;
    for (i = 0; i < count; i++) {
        seed = seed * 1103515245u + 12345u;
        values[i] = (float)((int)(seed >> 16 & 0x7FFF) - 0x4000) / 4096.0f;
    }
}

static char *copy_text(int32_t (*get)(fedicu_handle, char *, uint64_t, uint64_t *), fedicu_handle handle)
{
    uint64_t length = 0;
    char *buffer;
    CHECK(get(handle, NULL, 0, &length) == FEDICU_OK);
    buffer = malloc(length);
    CHECK(get(handle, buffer, length - 1, &length) == FEDICU_BUFFER_TOO_SMALL);
    CHECK(get(handle, buffer, length, &length) == FEDICU_OK);
    CHECK(strlen(buffer) + 1 == length);
    return buffer;
}

static int32_t get_strategies(fedicu_handle handle, char *buffer, uint64_t capacity, uint64_t *length)
{
    (void)handle;
    return fedicu_strategies(buffer, capacity, length);
}

/* the registry, strategies joined by commas, and a rule's state in a file that another handle goes on with */
static void test_strategies(const char *folder)
{
    float x[5] = {1, 2, 3, 4, 5}, received = 0, next[2];
    static const int64_t one[1] = {1};
    fedicu_tensor client = {"w", "F32", 1, one, NULL, sizeof(float)}, global = client, result = client;
    fedicu_handle handle;
    char options[4096], *text = copy_text(get_strategies, 0);
    int i, round;
    CHECK(strstr(text, "{\"strategies\":[{\"name\":\"fedavg\",\"summary\":\"") != NULL);
    CHECK(strstr(text, "{\"name\":\"byzantine\",\"values\":\"auto, whole number\",\"default\":\"auto\",\"summary\":\"") != NULL);
    CHECK(strstr(text, "\"roundOptions\":[{\"name\":\"balance\"") != NULL);
    free(text);

    for (i = 0; i < 2; i++) {
        /* the state in one handle's memory, then in a file with a handle for each round */
        snprintf(options, sizeof options, "{\"strategy\": \"krum,fedadam\", \"settings\": {\"krum.byzantine\": 1}%s%s%s}",
            i == 0 ? "" : ", \"state\": \"", i == 0 ? "" : folder, i == 0 ? "" : "/state.safetensors\"");
        received = 0;
        for (round = 1; round <= 2; round++) {
            int k;
            if (i == 1 || round == 1)
                CHECK(fedicu_create(options, &handle) == FEDICU_OK);
            CHECK(fedicu_begin_round(handle, round) == FEDICU_OK);
            global.data = &received;
            CHECK(fedicu_set_global(handle, 1, &global, FEDICU_COPY) == FEDICU_OK);
            for (k = 0; k < 5; k++) {
                char name[2] = {(char)('a' + k), 0};
                client.data = &x[k];
                CHECK(fedicu_add(handle, name, 1, 1, &client, FEDICU_BORROW) == FEDICU_OK);
            }
            result.data = &next[i];
            CHECK(fedicu_finish(handle, 1, &result) == FEDICU_OK);
            received = next[i];
            if (i == 1 || round == 2)
                CHECK(fedicu_destroy(handle) == FEDICU_OK);
        }
    }
    CHECK(next[0] == next[1] && next[0] != 0);
    CHECK(fedicu_create("{\"strategy\": \"krum,fedadam\", \"state\": \"\"}", &handle) == FEDICU_INVALID_OPTIONS);
    CHECK(strstr(fedicu_last_error(), "state is empty; a path was expected.") != NULL);
    CHECK(fedicu_create("{\"strategy\": \"krum\", \"state\": \"s\"}", &handle) == FEDICU_INVALID_OPTIONS);
    CHECK(strstr(fedicu_last_error(), "state is 's', but 'krum' keeps no state between rounds.") != NULL);
    CHECK(fedicu_create("{\"strategy\": \"fedadam\", \"stateOut\": \"s\"}", &handle) == FEDICU_INVALID_OPTIONS);
}

/* what clients state: fednova divides by their steps, and scaffold reads control variates */
static void test_statements(void)
{
    float x[2] = {4, 10}, control[2] = {1, 3}, received = 0, next = 0;
    static const int64_t one[1] = {1};
    fedicu_tensor client = {"w", "F32", 1, one, NULL, sizeof(float)}, global = client, result = client;
    fedicu_handle handle;
    int k;
    global.data = &received;
    result.data = &next;
    CHECK(fedicu_create("{\"strategy\": \"fednova\"}", &handle) == FEDICU_OK);
    CHECK(fedicu_set_statements(handle, "a", "{}") == FEDICU_WRONG_STATE);
    for (k = 0; k < 2; k++) {
        CHECK(fedicu_begin_round(handle, k) == FEDICU_OK);
        CHECK(fedicu_set_global(handle, 1, &global, FEDICU_BORROW) == FEDICU_OK);
        CHECK(fedicu_set_statements(handle, "a", "{}") == FEDICU_INVALID_ARGUMENT);
        CHECK(strstr(fedicu_last_error(), "Client 'a' has no update in this round") == fedicu_last_error());
        client.data = &x[0];
        CHECK(fedicu_add(handle, "a", 1, 1, &client, FEDICU_COPY) == FEDICU_OK);
        client.data = &x[1];
        CHECK(fedicu_add(handle, "b", 1, 1, &client, FEDICU_COPY) == FEDICU_OK);
        CHECK(fedicu_set_statements(handle, "a", "{\"local_steps\": 2, \"loss\": null}") == FEDICU_OK);
        CHECK(fedicu_set_statements(handle, "b", "{\"lokal_steps\": 2}") == FEDICU_INVALID_OPTIONS);
        CHECK(fedicu_set_statements(handle, "b", "{\"control\": 2}") == FEDICU_INVALID_OPTIONS);
        CHECK(fedicu_set_statements(handle, "b", "[]") == FEDICU_INVALID_OPTIONS);
        CHECK(fedicu_set_statements(handle, "b", k == 0 ? "{\"local_steps\": \"10\"}" : "{\"local_steps\": \"x\"}") == FEDICU_OK);
        CHECK(fedicu_finish(handle, 1, &result) == (k == 0 ? FEDICU_OK : FEDICU_ROUND_REJECTED));
    }
    CHECK(strstr(fedicu_last_error(), "Client 'b': local_steps is 'x'; a number was expected.") != NULL);
    /* 6 steps of the mean of 4 / 2 and 10 / 10 */
    CHECK(next == 9);
    CHECK(fedicu_destroy(handle) == FEDICU_OK);

    CHECK(fedicu_create("{\"strategy\": \"scaffold\"}", &handle) == FEDICU_OK);
    CHECK(fedicu_begin_round(handle, 1) == FEDICU_OK);
    CHECK(fedicu_set_global(handle, 1, &global, FEDICU_BORROW) == FEDICU_OK);
    for (k = 0; k < 2; k++) {
        char name[2] = {(char)('a' + k), 0};
        client.data = &x[k];
        CHECK(fedicu_add(handle, name, 1, 1, &client, FEDICU_BORROW) == FEDICU_OK);
        client.data = &control[k];
        CHECK(fedicu_set_control(handle, name, 1, &client, FEDICU_DELTA) == FEDICU_INVALID_ARGUMENT);
        CHECK(fedicu_set_control(handle, name, 1, &client, k == 0 ? FEDICU_COPY : FEDICU_BORROW) == FEDICU_OK);
    }
    CHECK(fedicu_finish(handle, 1, &result) == FEDICU_OK);
    CHECK(next == 7);
    CHECK(fedicu_destroy(handle) == FEDICU_OK);
}

static void test_rounds(const char *folder)
{
    float w[4][COUNT], b[4][3];
    fedicu_tensor global[2], first[2], second[2], result[2], turned[2];
    fedicu_handle handle, strict;
    char path[4096], *report, *state;
    int i, k;
    for (k = 0; k < 3; k++) {
        fill(w[k], COUNT, 7u * (unsigned)k + 1u);
        fill(b[k], 3, 9u * (unsigned)k + 5u);
    }

    describe(global, w[0], b[0]);
    describe(first, w[1], b[1]);
    describe(second, w[2], b[2]);
    describe(result, w[3], b[3]);
    CHECK(fedicu_create("{\"strategy\": \"fedavg\", \"threads\": 2, \"settings\": {\"on-nonfinite\": \"reject\"}}", &handle) == FEDICU_OK);
    CHECK(fedicu_finish(handle, 2, result) == FEDICU_WRONG_STATE);
    CHECK(fedicu_begin_round(handle, 4) == FEDICU_OK);
    CHECK(fedicu_finish(handle, 2, result) == FEDICU_WRONG_STATE);
    CHECK(fedicu_set_global(handle, 2, global, FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_set_global(handle, 2, global, FEDICU_COPY) == FEDICU_WRONG_STATE);
    CHECK(fedicu_finish(handle, 2, result) == FEDICU_ROUND_REJECTED);
    CHECK(fedicu_add(handle, "a", 3, 2, first, FEDICU_COPY) == FEDICU_OK);
    /* the tensors were copied, so changes after the call do not matter */
    memset(w[1], 0xFF, sizeof w[1]);
    CHECK(fedicu_add(handle, "a", 3, 2, second, FEDICU_COPY) == FEDICU_INVALID_ARGUMENT);
    CHECK(strstr(fedicu_last_error(), "Client 'a' was added already.") != NULL);
    CHECK(fedicu_add(handle, "b", 1, 2, second, FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_finish(handle, 1, result) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_finish(handle, 2, second) == FEDICU_INVALID_ARGUMENT);
    turned[0] = result[1];
    turned[1] = result[0];
    CHECK(fedicu_finish(handle, 2, turned) == FEDICU_OK);
    fill(w[1], COUNT, 8u);
    for (i = 0; i < COUNT; i++)
        CHECK(w[3][i] == (float)((3 * (double)w[1][i] + (double)w[2][i]) / 4));
    CHECK(fedicu_finish(handle, 2, result) == FEDICU_WRONG_STATE);
    report = copy_text(fedicu_report_json, handle);
    CHECK(strstr(report, "\"round\":4") != NULL || strstr(report, "\"round\": 4") != NULL);
    state = copy_text(fedicu_export_state, handle);
    CHECK(fedicu_import_state(handle, state) == FEDICU_OK);
    CHECK(fedicu_import_state(handle, "{\"version\": 1, \"strategy\": \"fedprox\", \"round\": null}") == FEDICU_INVALID_OPTIONS);
    CHECK(fedicu_import_state(handle, "{") == FEDICU_INVALID_OPTIONS);
    free(report);
    free(state);

    /* write to a file and read it */
    snprintf(path, sizeof path, "%s/next.safetensors", folder);
    CHECK(fedicu_begin_round(handle, -1) == FEDICU_OK);
    CHECK(fedicu_set_global(handle, 2, global, FEDICU_COPY) == FEDICU_OK);
    CHECK(fedicu_add(handle, "a", 1, 2, second, FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_finish_file(handle, path) == FEDICU_OK);
    CHECK(fedicu_begin_round(handle, 5) == FEDICU_OK);
    CHECK(fedicu_set_global_file(handle, "nowhere.safetensors") == FEDICU_INVALID_MODEL);
    CHECK(fedicu_set_global_file(handle, path) == FEDICU_OK);
    CHECK(fedicu_add_file(handle, "a", NAN, path) == FEDICU_OK);
    CHECK(fedicu_finish(handle, 2, result) == FEDICU_OK);
    CHECK(memcmp(w[3], w[2], sizeof w[2]) == 0 && memcmp(b[3], b[2], sizeof b[2]) == 0);

    /* the policies leave out clients at fault, or refuse the round */
    turned[0] = second[0];
    turned[0].dtype = "complex128";
    turned[1] = second[1];
    CHECK(fedicu_create("{\"strategy\": \"fedavg\", \"settings\": {\"on-unreadable\": \"drop-client\", "
                        "\"on-weight\": \"drop-client\", \"on-dtype\": \"drop-client\", \"quorum\": 1}}", &strict) == FEDICU_OK);
    for (i = 0; i < 2; i++) {
        fedicu_handle own = i == 0 ? strict : handle;
        CHECK(fedicu_begin_round(own, 7) == FEDICU_OK);
        CHECK(fedicu_set_global(own, 2, global, FEDICU_BORROW) == FEDICU_OK);
        CHECK(fedicu_add(own, "a", 1, 2, second, FEDICU_BORROW) == FEDICU_OK);
        CHECK(fedicu_add_fault(own, "b", FEDICU_FAULT_UNREADABLE, "its archive is broken.") == FEDICU_OK);
        CHECK(fedicu_add_fault(own, "c", FEDICU_FAULT_WEIGHT, "its weight is a word.") == FEDICU_OK);
        CHECK(fedicu_add(own, "d", NAN, 2, second, FEDICU_BORROW) == FEDICU_OK);
        CHECK(fedicu_add(own, "e", 1, 2, turned, FEDICU_BORROW) == FEDICU_OK);
        CHECK(fedicu_add_fault(own, "b", FEDICU_FAULT_WEIGHT, "twice.") == FEDICU_INVALID_ARGUMENT);
        CHECK(fedicu_add_fault(own, "f", 3, "unknown.") == FEDICU_INVALID_ARGUMENT);
        CHECK(fedicu_add_fault(own, "f", FEDICU_FAULT_WEIGHT, NULL) == FEDICU_INVALID_ARGUMENT);
        CHECK(fedicu_finish(own, 2, result) == (i == 0 ? FEDICU_OK : FEDICU_ROUND_REJECTED));
    }
    CHECK(strcmp(fedicu_last_error(), "Client 'b': its archive is broken.") == 0);
    CHECK(memcmp(w[3], w[2], sizeof w[2]) == 0 && memcmp(b[3], b[2], sizeof b[2]) == 0);
    report = copy_text(fedicu_report_json, strict);
    CHECK(strstr(report, "Client 'c': its weight is a word.") != NULL ||
          strstr(report, "Client \\u0027c\\u0027: its weight is a word.") != NULL);
    free(report);
    /* a client in memory that states no weight, as one of a file without num_examples */
    for (i = 0; i < 2; i++) {
        CHECK(fedicu_begin_round(strict, 8) == FEDICU_OK);
        CHECK(fedicu_set_global(strict, 2, global, FEDICU_BORROW) == FEDICU_OK);
        CHECK(fedicu_add(strict, "a", 3, 2, second, FEDICU_BORROW | (i == 0 ? 0 : FEDICU_UNWEIGHTED)) == FEDICU_OK);
        CHECK(fedicu_add(strict, "b", 3, 2, first, FEDICU_BORROW | FEDICU_UNWEIGHTED) == FEDICU_OK);
        CHECK(fedicu_finish(strict, 2, result) == FEDICU_OK);
        report = copy_text(fedicu_report_json, strict);
        CHECK((strstr(report, "states no num_examples") != NULL) == (i == 0));
        CHECK((strstr(report, "No client states num_examples: every client weighs 1.") != NULL) == (i == 1));
        free(report);
    }
    CHECK(fedicu_set_global(handle, 2, global, FEDICU_UNWEIGHTED) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_destroy(strict) == FEDICU_OK);

    /* an aborted round is over */
    CHECK(fedicu_begin_round(handle, 6) == FEDICU_OK);
    CHECK(fedicu_set_global(handle, 2, global, FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_abort(handle) == FEDICU_OK);
    CHECK(fedicu_add(handle, "a", 1, 2, first, FEDICU_COPY) == FEDICU_WRONG_STATE);
    CHECK(fedicu_destroy(handle) == FEDICU_OK);
    CHECK(fedicu_destroy(handle) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_destroy(0) == FEDICU_OK);
}

static void test_wrong_uses(void)
{
    float w[COUNT], b[3];
    fedicu_tensor tensors[2], broken;
    fedicu_handle handle = 77;
    uint64_t length;
    describe(tensors, w, b);
    CHECK(fedicu_create(NULL, &handle) == FEDICU_INVALID_ARGUMENT && handle == 0);
    CHECK(fedicu_create("{}", &handle) == FEDICU_INVALID_OPTIONS);
    CHECK(fedicu_create("{\"strategy\": \"fedsgd\"}", &handle) == FEDICU_INVALID_OPTIONS);
    CHECK(strstr(fedicu_last_error(), "The strategy 'fedsgd' is unknown; fedavg, fedprox, fedicu, ") == fedicu_last_error());
    CHECK(fedicu_create("{\"strategy\": \"fedavg\", \"thread\": 1}", &handle) == FEDICU_INVALID_OPTIONS);
    CHECK(fedicu_create("{\"strategy\": \"fedicu\", \"settings\": {\"tau\": -1}}", &handle) == FEDICU_INVALID_OPTIONS);
    CHECK(fedicu_create("{\"strategy\": \"fedavg\"}", NULL) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_begin_round(1234, 0) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_create("{\"strategy\": \"fedavg\"}", &handle) == FEDICU_OK);
    CHECK(fedicu_report_json(handle, NULL, 0, &length) == FEDICU_WRONG_STATE);
    CHECK(fedicu_begin_round(handle, 0) == FEDICU_OK);
    CHECK(fedicu_set_global(handle, 2, tensors, 8u) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_set_global(handle, 2, tensors, FEDICU_DELTA) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_set_global(handle, -1, tensors, 0) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_set_global(handle, 2, NULL, 0) == FEDICU_INVALID_ARGUMENT);
    broken = tensors[0];
    broken.name = NULL;
    CHECK(fedicu_set_global(handle, 1, &broken, 0) == FEDICU_INVALID_ARGUMENT);
    broken = tensors[0];
    broken.dtype = "F33";
    CHECK(fedicu_set_global(handle, 1, &broken, 0) == FEDICU_INVALID_ARGUMENT);
    broken = tensors[0];
    broken.nbytes--;
    CHECK(fedicu_set_global(handle, 1, &broken, 0) == FEDICU_INVALID_ARGUMENT);
    CHECK(strcmp(fedicu_last_error(), "Tensor 'w' of F32 [6, 5] has 119 bytes; 120 were expected.") == 0);
    broken = tensors[0];
    broken.data = (char *)w + 1;
    CHECK(fedicu_set_global(handle, 1, &broken, FEDICU_BORROW) == FEDICU_INVALID_ARGUMENT);
    broken = tensors[0];
    broken.data = NULL;
    CHECK(fedicu_set_global(handle, 1, &broken, 0) == FEDICU_INVALID_ARGUMENT);
    broken = tensors[0];
    broken.rank = -1;
    CHECK(fedicu_set_global(handle, 1, &broken, 0) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_add(handle, "a", 1, 1, &broken, 0) == FEDICU_INVALID_ARGUMENT);
    CHECK(strstr(fedicu_last_error(), "Client 'a': tensor 'w': its rank is -1") == fedicu_last_error());
    CHECK(fedicu_update_destroy(handle) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_destroy(handle) == FEDICU_OK);
}

static void test_client(void)
{
    float w[4][COUNT], b[4][3];
    double y[4] = {1, 2, 3, 4}, x[4] = {0, 2, 5, 4}, g[4] = {1, 1, 1, 1}, value;
    int64_t four[1] = {4}, count, i;
    fedicu_tensor global[2], local[2], momentum[2], result[2], tensor, *sent;
    fedicu_tensor ty = {"y", "F64", 1, NULL, NULL, 32}, tx, tg;
    fedicu_handle update, server;
    char *metadata;
    for (i = 0; i < 2; i++) {
        fill(w[i], COUNT, (unsigned)i + 1u);
        fill(b[i], 3, (unsigned)i + 9u);
    }

    describe(global, w[0], b[0]);
    describe(local, w[1], b[1]);
    describe(momentum, w[2], b[2]);
    CHECK(fedicu_mask("{\"settings\": {\"mask\": \"top=0.2\"}, \"round\": 3}", 2, global, local, NULL, momentum, &update) == FEDICU_OK);
    CHECK(fedicu_update_count(update, &count) == FEDICU_OK && count >= 2);
    for (i = 0; i < count; i++) {
        CHECK(fedicu_update_tensor(update, i, &tensor) == FEDICU_OK);
        if (strcmp(tensor.name, "w#values") == 0)
            CHECK(tensor.rank == 1 && tensor.shape[0] == 6 && tensor.nbytes == 24 && strcmp(tensor.dtype, "F32") == 0);
    }

    for (i = 0; i < COUNT; i++)
        CHECK(w[2][i] == (float)((double)w[1][i] - (double)w[0][i]));
    CHECK(fedicu_update_tensor(update, count, &tensor) == FEDICU_INVALID_ARGUMENT);
    metadata = copy_text(fedicu_update_metadata_json, update);
    CHECK(strstr(metadata, "\"fedicu.update\":\"sparse\"") != NULL);

    /* values that are not sent keep the received ones */
    sent = malloc((size_t)count * sizeof *sent);
    for (i = 0; i < count; i++)
        CHECK(fedicu_update_tensor(update, i, &sent[i]) == FEDICU_OK);
    CHECK(fedicu_create("{\"strategy\": \"fedavg\"}", &server) == FEDICU_OK);
    CHECK(fedicu_add_update(server, "a", 2, metadata, count, sent, FEDICU_BORROW) == FEDICU_WRONG_STATE);
    CHECK(fedicu_begin_round(server, 3) == FEDICU_OK);
    CHECK(fedicu_set_global(server, 2, global, FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_add_update(server, "a", 2, "[]", count, sent, FEDICU_BORROW) == FEDICU_INVALID_OPTIONS);
    CHECK(fedicu_add_update(server, "a", 2, NULL, count, sent, FEDICU_BORROW) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_add_update(server, "a", 2, metadata, count, sent, FEDICU_BORROW | FEDICU_DELTA) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_add_update(server, "a", NAN, metadata, count, sent, FEDICU_BORROW) == FEDICU_OK);
    describe(result, w[3], b[3]);
    CHECK(fedicu_finish(server, 2, result) == FEDICU_OK);
    for (i = count = 0; i < COUNT; i++) {
        CHECK(w[3][i] == w[0][i] || w[3][i] == w[1][i]);
        count += w[3][i] == w[1][i];
    }

    CHECK(count == 6);
    CHECK(fedicu_destroy(server) == FEDICU_OK);
    free(sent);
    free(metadata);
    CHECK(fedicu_update_destroy(update) == FEDICU_OK);
    /* the previous and the new momentum may be in the same memory */
    CHECK(fedicu_mask("{}", 2, global, local, momentum, momentum, &update) == FEDICU_OK);
    CHECK(fedicu_update_destroy(update) == FEDICU_OK);
    CHECK(fedicu_mask("{\"settings\": {\"mask\": \"most\"}}", 2, global, local, NULL, NULL, &update) == FEDICU_INVALID_OPTIONS &&
          update == 0);

    ty.shape = four;
    ty.data = y;
    tx = tg = ty;
    tx.data = x;
    tg.data = g;
    CHECK(fedicu_proximal(0.5, &ty, &tx, NULL, &value) == FEDICU_OK && value == 0.25 * 5);
    CHECK(fedicu_proximal(0.5, &ty, &tx, &tg, &value) == FEDICU_OK && g[0] == 1.5 && g[1] == 1 && g[2] == 0 && g[3] == 1);
    tx.dtype = "F32";
    CHECK(fedicu_proximal(0.5, &ty, &tx, NULL, &value) == FEDICU_INVALID_ARGUMENT);
}

/* adapters of ranks 1 and 2, and a result of rank 3 in the library's memory */
static void test_adapters(void)
{
    static const char *config[3] = {NULL, "{\"r\": 1, \"lora_alpha\": 1}", "{\"r\": 2, \"lora_alpha\": 2}"};
    static const int64_t shapes[3][2][2] = {{{0, 0}}, {{1, 4}, {3, 1}}, {{2, 4}, {3, 2}}};
    float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1}, half[8] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    fedicu_tensor adapter[3][2], tensor;
    fedicu_handle handle, model, small;
    int64_t count, i;
    float value_of_first;
    char *text;
    int rank;
    for (rank = 1; rank <= 2; rank++) {
        for (i = 0; i < 2; i++) {
            fedicu_tensor *own = &adapter[rank][i];
            own->name = i == 0 ? "m.lora_A.weight" : "m.lora_B.weight";
            own->dtype = "F32";
            own->rank = 2;
            own->shape = shapes[rank][i];
            own->data = i == 0 ? ones : half;
            own->nbytes = (uint64_t)(own->shape[0] * own->shape[1]) * sizeof(float);
        }
    }

    CHECK(fedicu_create("{\"strategy\": \"flora\"}", &handle) == FEDICU_OK);
    CHECK(fedicu_finish_model(handle, &model) == FEDICU_WRONG_STATE && model == 0);
    CHECK(fedicu_finish_model(handle, NULL) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_begin_round(handle, 1) == FEDICU_OK);
    CHECK(fedicu_set_global_adapter(handle, "{\"r\": 0}", 2, adapter[2], FEDICU_BORROW) == FEDICU_INVALID_MODEL);
    CHECK(fedicu_set_global_adapter(handle, NULL, 2, adapter[2], FEDICU_BORROW) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_set_global_adapter(handle, config[2], 2, adapter[2], FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_add_adapter(handle, "a", 1, config[1], 2, adapter[1], FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_add_adapter(handle, "a", 1, config[1], 2, adapter[1], FEDICU_BORROW) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_add_adapter(handle, "b", 1, config[2], 2, adapter[2], FEDICU_COPY) == FEDICU_OK);
    CHECK(fedicu_add_adapter(handle, "c", 1, NULL, 2, adapter[2], FEDICU_COPY) == FEDICU_INVALID_ARGUMENT);
    /* the result has rank 3: tensors of the global adapter's shapes do not fit it */
    CHECK(fedicu_finish(handle, 2, adapter[2]) == FEDICU_INVALID_ARGUMENT);
    CHECK(fedicu_finish_model(handle, &model) == FEDICU_OK);
    CHECK(fedicu_update_count(model, &count) == FEDICU_OK && count == 2);
    CHECK(fedicu_update_tensor(model, 0, &tensor) == FEDICU_OK);
    CHECK(tensor.shape[0] == 3 && tensor.shape[1] == 4 && ((float *)tensor.data)[0] == 0.5f);
    text = copy_text(fedicu_update_config_json, model);
    CHECK(strstr(text, "\"r\": 3") != NULL && strstr(text, "\"lora_alpha\": 3") != NULL);
    CHECK(fedicu_update_destroy(model) == FEDICU_OK);
    free(text);

    /* a configuration that cannot be read makes the client unreadable */
    CHECK(fedicu_begin_round(handle, 2) == FEDICU_OK);
    CHECK(fedicu_set_global_adapter(handle, config[2], 2, adapter[2], FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_add_adapter(handle, "a", 1, "{", 2, adapter[1], FEDICU_BORROW) == FEDICU_OK);
    CHECK(fedicu_finish_model(handle, &model) == FEDICU_ROUND_REJECTED && model == 0);
    CHECK(strstr(fedicu_last_error(), "Client 'a': 'adapter_config.json' is not valid JSON") == fedicu_last_error());
    CHECK(fedicu_destroy(handle) == FEDICU_OK);

    /* the product of rank 2 has one singular value: rank 1 holds it all */
    CHECK(fedicu_adapt("{\"rank\": 0}", config[2], 2, adapter[2], &small) == FEDICU_INVALID_OPTIONS && small == 0);
    CHECK(fedicu_adapt("{\"rank\": 1}", NULL, 2, adapter[2], &small) == FEDICU_ROUND_REJECTED);
    CHECK(fedicu_adapt("{\"rank\": 1, \"loraScaling\": 1}", NULL, 2, adapter[2], &small) == FEDICU_OK);
    text = copy_text(fedicu_update_config_json, small);
    CHECK(strcmp(text, "") == 0);
    free(text);
    CHECK(fedicu_update_destroy(small) == FEDICU_OK);
    CHECK(fedicu_adapt("{\"rank\": 1, \"threads\": 1}", config[2], 2, adapter[2], &small) == FEDICU_OK);
    CHECK(fedicu_update_tensor(small, 0, &tensor) == FEDICU_OK && tensor.shape[0] == 1);
    value_of_first = ((float *)tensor.data)[0];
    CHECK(fedicu_update_tensor(small, 1, &tensor) == FEDICU_OK && tensor.shape[1] == 1);
    /* s B A = 2 * (a b), as alpha stays 2 at rank 1; before it was 1 * 2 * 0.5 */
    CHECK(fabs(2 * value_of_first * ((float *)tensor.data)[0] - 1) < 1e-6);
    CHECK(fedicu_update_destroy(small) == FEDICU_OK);
}

static void test_ten_thousand_refusals(void)
{
    float w[2][COUNT], b[2][3];
    fedicu_tensor global[2], broken[2];
    fedicu_handle handle;
    int i;
    fill(w[0], COUNT, 1);
    fill(w[1], COUNT, 2);
    fill(b[0], 3, 3);
    fill(b[1], 3, 4);
    w[1][7] = NAN;
    describe(global, w[0], b[0]);
    describe(broken, w[1], b[1]);
    for (i = 0; i < 10000; i++) {
        CHECK(fedicu_create("{\"strategy\": \"fedicu\", \"threads\": 1}", &handle) == FEDICU_OK);
        CHECK(fedicu_begin_round(handle, i) == FEDICU_OK);
        CHECK(fedicu_set_global(handle, 2, global, FEDICU_COPY) == FEDICU_OK);
        CHECK(fedicu_add(handle, "a", 1, 2, broken, FEDICU_COPY) == FEDICU_OK);
        CHECK(fedicu_finish(handle, 2, global) == FEDICU_ROUND_REJECTED);
        CHECK(fedicu_destroy(handle) == FEDICU_OK);
    }
}

int main(int argc, char **argv)
{
    CHECK(fedicu_abi_version() == FEDICU_ABI_VERSION);
    CHECK(strcmp(fedicu_last_error(), "") == 0);
    test_rounds(argc > 1 ? argv[1] : ".");
    test_strategies(argc > 1 ? argv[1] : ".");
    test_statements();
    test_wrong_uses();
    test_client();
    test_adapters();
    test_ten_thousand_refusals();
    CHECK(fedicu_live_handles() == 0);
    printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
