/* gguf/reader.h: the inside of an open file, shared by the reader of one file and what joins several. */
#ifndef TERSE_GGUF_READER_H
#define TERSE_GGUF_READER_H

#include "base/map.h"
#include "gguf/names.h"
#include "terse/gguf.h"

struct terse_gguf {
    terse_map map;
    char *path;
    uint32_t version;
    size_t table_end; /* of header, metadata and tensor table */
    size_t data_offset;
    int32_t n_meta, n_tensor;
    terse_meta *meta;       /* [n_meta] */
    terse_tensor *tensor;   /* [n_tensor]; of all parts, once they are joined */
    terse_names meta_names; /* indices into meta and tensor */
    terse_names tensor_names;
    terse_gguf **other; /* [n_other] the parts of a split file behind the first */
    int32_t n_other;
};

/* One file as it is, whether or not it is part of a split one. */
terse_status terse_gguf_open_one(terse_gguf **out, const char *path, terse_error *err);

#endif
