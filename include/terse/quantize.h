/* terse/quantize.h: a model file with its weights in other types. Tensors stream through: what is held in
 * memory is a slice of one of them. */
#ifndef TERSE_QUANTIZE_H
#define TERSE_QUANTIZE_H

#include "terse/gguf.h"

#include <stdatomic.h>

/* One tensor that was written. */
typedef struct {
    terse_str name; /* borrowed for the call */
    uint32_t from, to;
    int64_t n_weight;
    size_t size_in, size_out;
    double error, squares; /* sums over the weights of (new - old)^2 and of old^2; both 0 where from == to */
} terse_quantize_tensor;

typedef struct {
    int32_t n_tensor, n_changed; /* tensors; those whose type is another now */
    int64_t n_weight;
    size_t size_in, size_out; /* bytes of the tensors, without metadata */
    double error, squares;    /* of all that changed */
} terse_quantize_result;

/* Zero means default, except for type. */
typedef struct {
    const char *type; /* to be given: "Q4_K_M", ... (terse_quantize_type_at) */
    const char
        *tensor_type; /* "PART=TYPE,...": matrices with PART in their name get TYPE, the first that fits */
    int32_t threads;  /* 0: terse_cpu_threads() */
    bool requantize;  /* weights may come from quantized types, and inherit their errors */
    const atomic_bool *abort; /* looked at between slices; true ends the call with TERSE_INTERRUPTED */
    /* Both may be NULL; called by the caller's thread: after each tensor, and as bytes of the input are done.
     */
    void (*tensor)(void *ctx, const terse_quantize_tensor *t);
    void (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
} terse_quantize_opts;

/* i-th name of a type and one line about it; false past the last. */
TERSE_API bool terse_quantize_type_at(int32_t i, const char **name, const char **help);
/* Writes the model in to the file out: whole or not at all. Which tensor gets which type is as in llama.cpp:
 * vectors and expert routers stay F32, mixes give more bits to some matrices. Metadata is kept, less what would
 * be wrong, and general.file_type set. TERSE_BAD_INPUT names a tensor that cannot be converted. result may be
 * NULL. */
TERSE_API terse_status terse_quantize_file(const char *in, const char *out, const terse_quantize_opts *o,
                                           terse_quantize_result *result, terse_error *err);

#endif
