// Unmasked full attention in bfloat16 for processors with bfloat16 dot products (AVX512-BF16). Scores and sums are
// float32, and the score matrix is never written to memory.
//
// Keys and values of a head are packed once: a vector holds one pair of channels of 16 keys, or 16 channels of a pair
// of values, as the dot product with a broadcast pair needs them. Then, for a few queries at a time: scores of all
// keys, softmax, weighted sum of values. The working set fits into the L1 and L2 caches.
#include <cmath>
#include <cstring>
#include <vector>

#include "pool.h"
#include "variants.h"

#if defined(__clang__) ? __clang_major__ >= 10 : __GNUC__ >= 10
#define EDGETTS_HAS_BF16_DOTS EDGETTS_X86
#else
#define EDGETTS_HAS_BF16_DOTS 0
#endif

// The members are part of the C interface (structures.py). Strides of frames and rows are in elements; heads are
// contiguous.
struct AttentionShape {
    int64_t rows, queries, keys, heads, dim;
    int64_t query_frame, query_row, key_frame, key_row, value_frame, value_row;
};

#if EDGETTS_HAS_BF16_DOTS
#include <immintrin.h>

#define FEATURES_BF16 FEATURES_AVX512 ",avx512bf16"
VARIANT_BEGIN(FEATURES_BF16)

namespace {

const int LANES = 16;
const int KEYS = 64;     // per tile of scores
const int QUERIES = 6;   // per tile; together they fill the registers

struct Scratch {
    std::vector<uint16_t> keys, values, weights;  // weights: after softmax
    std::vector<float> scores;
};

inline __m512i broadcast_pair(const uint16_t* p) {
    int32_t word;
    std::memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

inline __m512 dot(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// e^x for x <= 0, relative error 3e-6: far below that of the bfloat16 it becomes.
inline __m512 exponential(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-87.0f));
    const __m512 exponent = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    const __m512 r = _mm512_fnmadd_ps(exponent, _mm512_set1_ps(0.69314718f), x);
    __m512 p = _mm512_set1_ps(8.3334519e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665796e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, exponent);
}

// Keys as (blocks of 16, pairs of channels, 16, 2), padded with zeros.
void pack_keys(const uint16_t* from, int64_t step, int64_t n, int64_t padded, int64_t dim, uint16_t* to) {
    for (int64_t key = 0; key < padded; ++key) {
        uint16_t* at = to + key / LANES * LANES * dim + key % LANES * 2;
        for (int64_t d = 0; d < dim; d += 2, at += 2 * LANES) {
            at[0] = key < n ? from[key * step + d] : 0;
            at[1] = key < n ? from[key * step + d + 1] : 0;
        }
    }
}

// Values as (pairs of values, channels, 2).
void pack_values(const uint16_t* from, int64_t step, int64_t n, int64_t padded, int64_t dim, uint16_t* to) {
    for (int64_t pair = 0; pair < padded / 2; ++pair, to += 2 * dim)
        for (int64_t d = 0; d < dim; ++d) {
            to[2 * d] = 2 * pair < n ? from[2 * pair * step + d] : 0;
            to[2 * d + 1] = 2 * pair + 1 < n ? from[(2 * pair + 1) * step + d] : 0;
        }
}

// M queries, D blocks of 16 channels.
template <int D, int M>
void attend_queries(const uint16_t* query, int64_t query_step, const AttentionShape& shape, int64_t padded, float scale,
                 Scratch& scratch, uint16_t* y, int64_t y_step) {
    const int64_t dim = D * LANES;
    float* scores = scratch.scores.data();
    uint16_t* weights = scratch.weights.data();
    for (int64_t key = 0; key < padded; key += KEYS) {
        __m512 sums[M][KEYS / LANES];
        for (int m = 0; m < M; ++m)
            for (int b = 0; b < KEYS / LANES; ++b) sums[m][b] = _mm512_setzero_ps();
        const uint16_t* block = scratch.keys.data() + key * dim;
        for (int64_t d = 0; d < dim; d += 2) {
            __m512i keys[KEYS / LANES];
            for (int b = 0; b < KEYS / LANES; ++b) keys[b] = _mm512_loadu_si512(block + b * LANES * dim + d * LANES);
            for (int m = 0; m < M; ++m) {
                const __m512i pair = broadcast_pair(query + m * query_step + d);
                for (int b = 0; b < KEYS / LANES; ++b) sums[m][b] = dot(sums[m][b], keys[b], pair);
            }
        }
        for (int m = 0; m < M; ++m)
            for (int b = 0; b < KEYS / LANES; ++b) _mm512_storeu_ps(scores + m * padded + key + b * LANES, sums[m][b]);
    }
    float inverse[M];
    for (int m = 0; m < M; ++m) {
        float* own = scores + m * padded;
        for (int64_t key = shape.keys; key < padded; ++key) own[key] = -3.4e38f;
        __m512 largest = _mm512_loadu_ps(own);
        for (int64_t key = LANES; key < padded; key += LANES)
            largest = _mm512_max_ps(largest, _mm512_loadu_ps(own + key));
        const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(largest)), factor = _mm512_set1_ps(scale);
        __m512 sum = _mm512_setzero_ps();
        for (int64_t key = 0; key < padded; key += LANES) {
            const __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(own + key), most), factor);
            const __m512 e = key + LANES <= shape.keys
                                 ? exponential(x)
                                 : _mm512_maskz_mov_ps(key >= shape.keys ? 0 : (1u << (shape.keys - key)) - 1u, exponential(x));
            sum = _mm512_add_ps(sum, e);
            const __m256bh bf16 = _mm512_cvtneps_pbh(e);
            std::memcpy(weights + m * padded + key, &bf16, sizeof bf16);
        }
        inverse[m] = 1.0f / _mm512_reduce_add_ps(sum);
    }
    __m512 sums_of_values[M][D];
    for (int m = 0; m < M; ++m)
        for (int b = 0; b < D; ++b) sums_of_values[m][b] = _mm512_setzero_ps();
    const uint16_t* values = scratch.values.data();
    for (int64_t key = 0; key < padded; key += 2, values += 2 * dim) {
        __m512i pairs[D];
        for (int b = 0; b < D; ++b) pairs[b] = _mm512_loadu_si512(values + 2 * b * LANES);
        for (int m = 0; m < M; ++m) {
            const __m512i weight = broadcast_pair(weights + m * padded + key);
            for (int b = 0; b < D; ++b) sums_of_values[m][b] = dot(sums_of_values[m][b], pairs[b], weight);
        }
    }
    for (int m = 0; m < M; ++m)
        for (int b = 0; b < D; ++b) {
            const __m256bh bf16 = _mm512_cvtneps_pbh(_mm512_mul_ps(sums_of_values[m][b], _mm512_set1_ps(inverse[m])));
            std::memcpy(y + m * y_step + b * LANES, &bf16, sizeof bf16);
        }
}

template <int D>
void attend_head(const uint16_t* q, const uint16_t* k, const uint16_t* v, const AttentionShape& shape, uint16_t* y) {
    static thread_local Scratch scratch;
    const int64_t dim = D * LANES, padded = (shape.keys + KEYS - 1) / KEYS * KEYS, step = shape.heads * dim;
    const size_t packed = static_cast<size_t>(padded * dim), some = static_cast<size_t>(QUERIES * padded);
    if (scratch.keys.size() < packed) scratch.keys.resize(packed), scratch.values.resize(packed);
    if (scratch.scores.size() < some) scratch.scores.resize(some), scratch.weights.resize(some);
    pack_keys(k, shape.key_frame, shape.keys, padded, dim, scratch.keys.data());
    pack_values(v, shape.value_frame, shape.keys, padded, dim, scratch.values.data());
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    int64_t i = 0;
    for (; i + QUERIES <= shape.queries; i += QUERIES)
        attend_queries<D, QUERIES>(q + i * shape.query_frame, shape.query_frame, shape, padded, scale, scratch,
                                y + i * step, step);
    for (; i < shape.queries; ++i)
        attend_queries<D, 1>(q + i * shape.query_frame, shape.query_frame, shape, padded, scale, scratch, y + i * step,
                          step);
}

}  // namespace

VARIANT_END
#endif

EDGETTS_SIZEOF(attention_shape, AttentionShape)

// Whether this machine and build support heads of `dim` channels.
EDGETTS_API int edgetts_attends(int64_t dim) {
#if EDGETTS_HAS_BF16_DOTS
    const int wanted = ISA_AVX512;
    return edgetts_usable_isa(wanted) == wanted && __builtin_cpu_supports("avx512bf16") && (dim == 32 || dim == 48 || dim == 64);
#else
    (void)dim;
    return 0;
#endif
}

// y (rows, queries, heads, dim) contiguous, all bfloat16. Call only if edgetts_attends; `keys` is at least 1.
EDGETTS_API void edgetts_attend(const uint16_t* q, const uint16_t* k, const uint16_t* v, uint16_t* y,
                                const AttentionShape* shape, int n_threads) {
#if EDGETTS_HAS_BF16_DOTS
    const AttentionShape& s = *shape;
    for_each(n_threads, s.rows * s.heads, [&](int64_t item) {
        const int64_t row = item / s.heads, head = item % s.heads * s.dim;
        const uint16_t *own_q = q + row * s.query_row + head, *own_k = k + row * s.key_row + head;
        const uint16_t* own_v = v + row * s.value_row + head;
        uint16_t* own_y = y + row * s.queries * s.heads * s.dim + head;
        if (s.dim == 32) attend_head<2>(own_q, own_k, own_v, s, own_y);
        if (s.dim == 48) attend_head<3>(own_q, own_k, own_v, s, own_y);
        if (s.dim == 64) attend_head<4>(own_q, own_k, own_v, s, own_y);
    });
#else
    (void)q, (void)k, (void)v, (void)y, (void)shape, (void)n_threads;
#endif
}
