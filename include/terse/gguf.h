/* terse/gguf.h: the GGUF file format, versions 2 and 3, little endian. The reader maps the file and trusts
 * nothing in it: every count, length, offset and type is checked against the file before use, and an error
 * names the field and its byte offset. */
#ifndef TERSE_GGUF_H
#define TERSE_GGUF_H

#include "terse/base.h"

/* Tensor types; the numbers are the file format's. */
typedef enum {
    TERSE_TYPE_F32 = 0,
    TERSE_TYPE_F16 = 1,
    TERSE_TYPE_Q4_0 = 2,
    TERSE_TYPE_Q4_1 = 3,
    TERSE_TYPE_Q5_0 = 6,
    TERSE_TYPE_Q5_1 = 7,
    TERSE_TYPE_Q8_0 = 8,
    TERSE_TYPE_Q8_1 = 9,
    TERSE_TYPE_Q2_K = 10,
    TERSE_TYPE_Q3_K = 11,
    TERSE_TYPE_Q4_K = 12,
    TERSE_TYPE_Q5_K = 13,
    TERSE_TYPE_Q6_K = 14,
    TERSE_TYPE_Q8_K = 15,
    TERSE_TYPE_IQ2_XXS = 16,
    TERSE_TYPE_IQ2_XS = 17,
    TERSE_TYPE_IQ3_XXS = 18,
    TERSE_TYPE_IQ1_S = 19,
    TERSE_TYPE_IQ4_NL = 20,
    TERSE_TYPE_IQ3_S = 21,
    TERSE_TYPE_IQ2_S = 22,
    TERSE_TYPE_IQ4_XS = 23,
    TERSE_TYPE_I8 = 24,
    TERSE_TYPE_I16 = 25,
    TERSE_TYPE_I32 = 26,
    TERSE_TYPE_I64 = 27,
    TERSE_TYPE_F64 = 28,
    TERSE_TYPE_IQ1_M = 29,
    TERSE_TYPE_BF16 = 30,
    TERSE_TYPE_TQ1_0 = 34,
    TERSE_TYPE_TQ2_0 = 35,
    TERSE_TYPE_MXFP4 = 39,
    TERSE_TYPE_COUNT = 43
} terse_type;

/* Shape of a type's storage: block_len values in block_size bytes. name is NULL for numbers that are no type.
 */
typedef struct {
    const char *name;
    int32_t block_len;
    int32_t block_size;
} terse_type_info;

/* Never NULL; an entry with name NULL for anything unknown. Thread-safe. */
TERSE_API const terse_type_info *terse_type_of(uint32_t type);
/* Bytes of a row of n values, or 0 if n is not a whole number of blocks or the type is unknown. */
TERSE_API size_t terse_type_row_size(uint32_t type, int64_t n);

enum { TERSE_MAX_DIMS = 4 };

/* A tensor in the mapping. ne[0] is the contiguous dimension (a row); dimensions past n_dim are 1. */
typedef struct {
    terse_str name;
    uint32_t type; /* terse_type, already checked to be known */
    int32_t n_dim;
    int64_t ne[TERSE_MAX_DIMS];
    const void *data; /* borrowed from the reader; aligned as the file aligns it (at least 8) */
    size_t size;      /* bytes */
    uint64_t offset;  /* of data in its file */
    int32_t part;     /* of a split file, from 0 */
} terse_tensor;

/* Metadata value types; the numbers are the file format's. */
typedef enum {
    TERSE_META_U8,
    TERSE_META_I8,
    TERSE_META_U16,
    TERSE_META_I16,
    TERSE_META_U32,
    TERSE_META_I32,
    TERSE_META_F32,
    TERSE_META_BOOL,
    TERSE_META_STR,
    TERSE_META_ARRAY,
    TERSE_META_U64,
    TERSE_META_I64,
    TERSE_META_F64
} terse_meta_type;

/* An array in the mapping; elements are packed as the file has them, not aligned. */
typedef struct {
    terse_meta_type type; /* of the elements; never TERSE_META_ARRAY */
    uint64_t n;
    const uint8_t *data;
    size_t size; /* bytes, already checked to hold n elements */
} terse_meta_array;

typedef struct {
    terse_str key;
    terse_meta_type type;
    uint64_t offset; /* of the value in the file */
    union {
        uint64_t u; /* U8..U64, BOOL */
        int64_t i;  /* I8..I64 */
        double f;   /* F32, F64 */
        terse_str s;
        terse_meta_array a;
    } v;
} terse_meta;

/* An open file: immutable, may be used from several threads. All that it hands out is borrowed until close. */
typedef struct terse_gguf terse_gguf;

/* Maps and checks the file. A part of a split file (NAME-00002-of-00003.gguf) opens all of them: the metadata
 * is that of the first, the tensors are those of all. On failure *out is NULL and err, if given, says why. */
TERSE_API terse_status terse_gguf_open(terse_gguf **out, const char *path, terse_error *err);
/* Frees *g and sets it to NULL. NULL and pointer to NULL are fine. */
TERSE_API void terse_gguf_close(terse_gguf **g);

/* Path, version and start of the data: of the first part. */
TERSE_API const char *terse_gguf_path(const terse_gguf *g);
TERSE_API uint32_t terse_gguf_version(const terse_gguf *g);
TERSE_API size_t terse_gguf_data_offset(const terse_gguf *g);
TERSE_API size_t terse_gguf_size(const terse_gguf *g);    /* bytes of the file, of all parts if it is split */
TERSE_API int32_t terse_gguf_n_part(const terse_gguf *g); /* 1: not split */
/* NULL past the last. */
TERSE_API const char *terse_gguf_part_path(const terse_gguf *g, int32_t i);
TERSE_API int32_t terse_gguf_n_meta(const terse_gguf *g);
TERSE_API const terse_meta *terse_gguf_meta(const terse_gguf *g, int32_t i);
TERSE_API int32_t terse_gguf_n_tensor(const terse_gguf *g);
TERSE_API const terse_tensor *terse_gguf_tensor(const terse_gguf *g, int32_t i);
/* By name; NULL if there is none. */
TERSE_API const terse_meta *terse_gguf_find_meta(const terse_gguf *g, const char *key);
TERSE_API const terse_tensor *terse_gguf_find_tensor(const terse_gguf *g, const char *name);
/* 128 bits of XXH3 over the header, the metadata and the tensor table (of every part): names a model without
 * reading its weights. */
TERSE_API void terse_gguf_hash(const terse_gguf *g, uint8_t hash[16]);
/* True once a page of the mapping could not be read (the file was truncated after it was opened). What was read
 * since then is zeros and must not be used. */
TERSE_API bool terse_gguf_broken(const terse_gguf *g);

/* Typed look-ups. If the key is absent and not required, *value keeps what it held. A value of another type, or
 * one that does not fit, is TERSE_BAD_INPUT and names key and offset. */
TERSE_API terse_status terse_gguf_get_i32(const terse_gguf *g, const char *key, bool required, int32_t *value,
                                          terse_error *err);
TERSE_API terse_status terse_gguf_get_f32(const terse_gguf *g, const char *key, bool required, float *value,
                                          terse_error *err);
TERSE_API terse_status terse_gguf_get_bool(const terse_gguf *g, const char *key, bool required, bool *value,
                                           terse_error *err);
TERSE_API terse_status terse_gguf_get_str(const terse_gguf *g, const char *key, bool required, terse_str *value,
                                          terse_error *err);
/* type is the wanted element type; TERSE_META_ARRAY accepts any. */
TERSE_API terse_status terse_gguf_get_array(const terse_gguf *g, const char *key, bool required,
                                            terse_meta_type type, terse_meta_array *value, terse_error *err);
/* Takes the first string off a (shrinking it); false when none is left. */
TERSE_API bool terse_meta_array_next_str(terse_meta_array *a, terse_str *s);
/* Element i of a numeric array as a number; i < a->n. */
TERSE_API double terse_meta_array_f64(const terse_meta_array *a, uint64_t i);
TERSE_API int64_t terse_meta_array_i64(const terse_meta_array *a, uint64_t i);

/* Writer: add metadata and tensors in any order, then save. Strings and tensor data are borrowed until the
 * save. Errors are sticky: the first one is reported by terse_gguf_writer_save. */
typedef struct terse_gguf_writer terse_gguf_writer;
TERSE_API terse_status terse_gguf_writer_open(terse_gguf_writer **out, terse_error *err);
TERSE_API void terse_gguf_writer_close(terse_gguf_writer **w);
TERSE_API void terse_gguf_writer_u32(terse_gguf_writer *w, const char *key, uint32_t value);
TERSE_API void terse_gguf_writer_i32(terse_gguf_writer *w, const char *key, int32_t value);
TERSE_API void terse_gguf_writer_u64(terse_gguf_writer *w, const char *key, uint64_t value);
TERSE_API void terse_gguf_writer_f32(terse_gguf_writer *w, const char *key, float value);
TERSE_API void terse_gguf_writer_bool(terse_gguf_writer *w, const char *key, bool value);
TERSE_API void terse_gguf_writer_str(terse_gguf_writer *w, const char *key, terse_str value);
TERSE_API void terse_gguf_writer_strs(terse_gguf_writer *w, const char *key, const terse_str *values,
                                      uint64_t n);
/* type is a fixed-size element type; data holds n packed elements. */
TERSE_API void terse_gguf_writer_array(terse_gguf_writer *w, const char *key, terse_meta_type type,
                                       const void *data, uint64_t n);
TERSE_API void terse_gguf_writer_tensor(terse_gguf_writer *w, const char *name, uint32_t type, int32_t n_dim,
                                        const int64_t *ne, const void *data);
/* Copies one metadata value of another file. */
TERSE_API void terse_gguf_writer_copy(terse_gguf_writer *w, const terse_meta *meta);
/* Writes to a temporary beside path, syncs and renames it: path holds the old file or the whole new one. */
TERSE_API terse_status terse_gguf_writer_save(terse_gguf_writer *w, const char *path, terse_error *err);
/* The same in steps, for tensors that are made while the file is written (their data may be NULL): begin, then
 * put with all bytes of every tensor in the order of their adding, in any number of pieces that do not cross
 * from one tensor to the next, then commit. Closing the writer before that leaves path as it was. */
TERSE_API terse_status terse_gguf_writer_begin(terse_gguf_writer *w, const char *path, terse_error *err);
TERSE_API terse_status terse_gguf_writer_put(terse_gguf_writer *w, const void *data, size_t n,
                                             terse_error *err);
TERSE_API terse_status terse_gguf_writer_commit(terse_gguf_writer *w, terse_error *err);

#endif
