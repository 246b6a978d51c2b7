/* gguf/fingerprint.h: tells one model's weights from another's without reading all of them. */
#ifndef TERSE_GGUF_FINGERPRINT_H
#define TERSE_GGUF_FINGERPRINT_H

#include "terse/gguf.h"

/* XXH3-128 over terse_gguf_hash, the size of the file (8 bytes, little endian) and XXH3-64 (8 bytes each, big
 * endian) of the first 4096 bytes of up to 64 tensors spread over the file: terse/profile.h has the reasons. */
void terse_gguf_fingerprint(const terse_gguf *g, uint8_t hash[16]);

#endif
