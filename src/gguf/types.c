/* gguf/types.c: how each tensor type is stored. The numbers are the file format's; numbers without a name were
 * never given out or have been withdrawn. */
#include "terse/gguf.h"

static const terse_type_info types[TERSE_TYPE_COUNT] = {
    [TERSE_TYPE_F32] = { "F32", 1, 4 },
    [TERSE_TYPE_F16] = { "F16", 1, 2 },
    [TERSE_TYPE_Q4_0] = { "Q4_0", 32, 18 },
    [TERSE_TYPE_Q4_1] = { "Q4_1", 32, 20 },
    [TERSE_TYPE_Q5_0] = { "Q5_0", 32, 22 },
    [TERSE_TYPE_Q5_1] = { "Q5_1", 32, 24 },
    [TERSE_TYPE_Q8_0] = { "Q8_0", 32, 34 },
    [TERSE_TYPE_Q8_1] = { "Q8_1", 32, 36 },
    [TERSE_TYPE_Q2_K] = { "Q2_K", 256, 84 },
    [TERSE_TYPE_Q3_K] = { "Q3_K", 256, 110 },
    [TERSE_TYPE_Q4_K] = { "Q4_K", 256, 144 },
    [TERSE_TYPE_Q5_K] = { "Q5_K", 256, 176 },
    [TERSE_TYPE_Q6_K] = { "Q6_K", 256, 210 },
    [TERSE_TYPE_Q8_K] = { "Q8_K", 256, 292 },
    [TERSE_TYPE_IQ2_XXS] = { "IQ2_XXS", 256, 66 },
    [TERSE_TYPE_IQ2_XS] = { "IQ2_XS", 256, 74 },
    [TERSE_TYPE_IQ3_XXS] = { "IQ3_XXS", 256, 98 },
    [TERSE_TYPE_IQ1_S] = { "IQ1_S", 256, 50 },
    [TERSE_TYPE_IQ4_NL] = { "IQ4_NL", 32, 18 },
    [TERSE_TYPE_IQ3_S] = { "IQ3_S", 256, 110 },
    [TERSE_TYPE_IQ2_S] = { "IQ2_S", 256, 82 },
    [TERSE_TYPE_IQ4_XS] = { "IQ4_XS", 256, 136 },
    [TERSE_TYPE_I8] = { "I8", 1, 1 },
    [TERSE_TYPE_I16] = { "I16", 1, 2 },
    [TERSE_TYPE_I32] = { "I32", 1, 4 },
    [TERSE_TYPE_I64] = { "I64", 1, 8 },
    [TERSE_TYPE_F64] = { "F64", 1, 8 },
    [TERSE_TYPE_IQ1_M] = { "IQ1_M", 256, 56 },
    [TERSE_TYPE_BF16] = { "BF16", 1, 2 },
    [TERSE_TYPE_TQ1_0] = { "TQ1_0", 256, 54 },
    [TERSE_TYPE_TQ2_0] = { "TQ2_0", 256, 66 },
    [TERSE_TYPE_MXFP4] = { "MXFP4", 32, 17 },
    [40] = { "NVFP4", 64, 36 },
    [41] = { "Q1_0", 128, 18 },
    [42] = { "Q2_0", 64, 18 },
};

const terse_type_info *terse_type_of(uint32_t type)
{
    static const terse_type_info unknown;
    return type < TERSE_TYPE_COUNT ? &types[type] : &unknown;
}

size_t terse_type_row_size(uint32_t type, int64_t n)
{
    const terse_type_info *t = terse_type_of(type);
    size_t size;
    if (!t->name || n < 0 || n % t->block_len != 0 ||
        __builtin_mul_overflow((uint64_t)(n / t->block_len), (uint64_t)t->block_size, &size))
        return 0;
    return size;
}
