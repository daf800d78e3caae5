// y = x W^T + bias for W stored as int4 (groupwise, asymmetric) or int8 (per output channel, symmetric).
//
// Packed layout, one stream per block of 16 output channels, so that a thread reads memory in order and one
// vector holds one number per channel:
//   int4: per group of inputs: group / 8 lines, then a line of 16 scales and 16 zeros (float16).
//         A line is 64 bytes: for channel 0..15 four bytes, inputs k..k+3 in the low, k+4..k+7 in the high
//         half of each byte.
//   int8: K / 4 lines (for channel 0..15 inputs k..k+3, each plus 128), then a line of 16 scales (float32).
// Channels beyond N are zero.
//
// Activations are either left in float32 and multiplied by weights converted in registers, or quantized per
// token and group to one or two planes of int8 (7 or 15 bits), which the dot-product instructions take.
#include <cstring>
#include <vector>

#include "linear.h"
#include "pool.h"
#include "variants.h"

#if EDGETTS_X86
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

using edgetts::Epilogue;
using edgetts::Linear;

const int CHANNELS = 16;         // of a block
const int LINE = 64;             // bytes
const int INPUTS_INT4 = 8;       // per line
const int INPUTS_INT8 = 4;       // per line
const int INT8_OFFSET = 128;     // makes int8 codes unsigned
const int PLANE_LIMIT = 127;     // activations are in [-127, 127] per plane
const int PLANE_STEP = 254;      // one unit of the upper plane, in units of the lower
const int PREFETCH_BYTES = 2048; // ahead: the hardware prefetcher stops at page boundaries
const int ITEM_BYTES = 32 << 10; // of weights per work item of a thread
const int MAX_TILE = 4;          // tokens that share one read of the weights
const float ROUND = 12582912.0f; // 1.5 * 2^23: adding and subtracting it rounds to an integer

// Quantized activations of some tokens; `group` inputs share a scale.
struct Activations {
    const float* x;        // (M, K)
    const int8_t* planes;  // (M, P, K)
    const float* scales;   // (M, K / group)
    const float* sums;     // (M, K / group): of the quantized values, or of x itself without planes
};

int64_t n_blocks(const Linear& layer) { return (layer.n + CHANNELS - 1) / CHANNELS; }

int64_t block_bytes(const Linear& layer) {
    return layer.bits == 4 ? layer.k / INPUTS_INT4 * LINE + layer.k / layer.group * LINE
                           : layer.k / INPUTS_INT8 * LINE + LINE;
}

struct Problem {
    Linear layer;
    Activations a;
    void* y;  // (M, N)
    int64_t m;
    Epilogue epilogue;
    bool is_bf16;  // y is bfloat16
};

inline float from_fp16(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
    const uint32_t magnitude = h & 0x7fffu;
    // Shifting leaves the exponent 112 too small; the multiplication corrects that, for subnormals, too.
    const uint32_t bits = magnitude << 13;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    value *= 5.192296858534828e33f;  // 2^112
    uint32_t out;
    std::memcpy(&out, &value, sizeof out);
    out |= sign;
    std::memcpy(&value, &out, sizeof value);
    return value;
}

}  // namespace

#define LEVEL_PORTABLE 0
#define LEVEL_NEON_DOT 1
#define LEVEL_AVX2 2
#define LEVEL_AVX_VNNI 3
#define LEVEL_AVX512_VNNI 4

#define VARIANT_NAMESPACE portable
#define VARIANT_LEVEL LEVEL_PORTABLE
#include "linear_body.inc"
#undef VARIANT_NAMESPACE
#undef VARIANT_LEVEL

#if EDGETTS_X86
#define VARIANT_NAMESPACE avx2
#define VARIANT_LEVEL LEVEL_AVX2
VARIANT_BEGIN(FEATURES_AVX2)
#include "linear_body.inc"
VARIANT_END
#undef VARIANT_NAMESPACE
#undef VARIANT_LEVEL

#if EDGETTS_HAS_AVX_VNNI
#define VARIANT_NAMESPACE avx_vnni
#define VARIANT_LEVEL LEVEL_AVX_VNNI
VARIANT_BEGIN(FEATURES_AVX_VNNI)
#include "linear_body.inc"
VARIANT_END
#undef VARIANT_NAMESPACE
#undef VARIANT_LEVEL
#endif

#define VARIANT_NAMESPACE avx512_vnni
#define VARIANT_LEVEL LEVEL_AVX512_VNNI
VARIANT_BEGIN(FEATURES_AVX512_VNNI)
#include "linear_body.inc"
VARIANT_END
#undef VARIANT_NAMESPACE
#undef VARIANT_LEVEL

#elif defined(__aarch64__)
#define VARIANT_NAMESPACE neon_dot
#define VARIANT_LEVEL LEVEL_NEON_DOT
VARIANT_BEGIN(FEATURES_NEON_DOT)
#include "linear_body.inc"
VARIANT_END
#undef VARIANT_NAMESPACE
#undef VARIANT_LEVEL
#endif

namespace {

struct Kernels {
    void (*quantize)(const float* x, int64_t k, int64_t group, int planes, int8_t* out, float* scales, float* sums);
    void (*block)(const Problem& problem, int planes, int64_t block);
};

Kernels kernels_for(int isa) {
    isa = edgetts_usable_isa(isa);
#if EDGETTS_X86
    if (isa >= ISA_AVX512_VNNI) return {avx512_vnni::quantize, avx512_vnni::block};
#if EDGETTS_HAS_AVX_VNNI
    if (isa == ISA_AVX_VNNI) return {avx_vnni::quantize, avx_vnni::block};
#endif
    if (isa >= ISA_AVX2) return {avx2::quantize, avx2::block};
#elif defined(__aarch64__)
    if (isa >= ISA_NEON_DOT) return {neon_dot::quantize, neon_dot::block};
#endif
    (void)isa;
    return {portable::quantize, portable::block};
}

}  // namespace

void edgetts::run(const Linear& layer, const float* x, void* y, int64_t m, Epilogue epilogue, int planes, bool is_bf16,
                  int isa, int n_threads, Scratch& scratch) {
    const int64_t k = layer.k, groups = k / layer.group;
    const size_t n_floats = static_cast<size_t>(m * 2 * groups), n_codes = static_cast<size_t>(m * planes * k);
    if (scratch.floats.size() < n_floats) scratch.floats.resize(n_floats);
    if (scratch.codes.size() < n_codes) scratch.codes.resize(n_codes);
    float *scales = scratch.floats.data(), *sums = scales + m * groups;
    int8_t* quantized = scratch.codes.data();
    const Kernels kernels = kernels_for(isa);
    for (int64_t token = 0; token < m; ++token)
        kernels.quantize(x + token * k, k, layer.group, planes, quantized + token * planes * k, scales + token * groups,
                         sums + token * groups);
    const Problem problem{layer, {x, quantized, scales, sums}, y, m, epilogue, is_bf16};
    int64_t per_item = ITEM_BYTES / block_bytes(layer);
    if (per_item < 1) per_item = 1;
    const int64_t blocks = n_blocks(layer);
    for_each(n_threads, (blocks + per_item - 1) / per_item, [&](int64_t item) {
        const int64_t end = (item + 1) * per_item < blocks ? (item + 1) * per_item : blocks;
        for (int64_t block = item * per_item; block < end; ++block) kernels.block(problem, planes, block);
    });
}

// packed: see above, from edgetts_pack_int4 or _int8 (bits); x: (m, k) float32, or bfloat16 when `is_bf16`;
// bias: (n) float32 or null; y: (m, n) of x's type; planes: 0 (float32 activations), 1 or 2; group: inputs that
// share a scale, a multiple of 8 that divides k (for int8 weights it is that of the activations only).
EDGETTS_API void edgetts_linear(const uint8_t* packed, const void* x, const float* bias, void* y, int64_t m,
                                int64_t n, int64_t k, int64_t group, int bits, int planes, int is_bf16, int isa,
                                int n_threads) {
    static thread_local edgetts::Scratch scratch;
    static thread_local std::vector<float> wide;
    const float* values = static_cast<const float*>(x);
    if (is_bf16) {
        if (wide.size() < static_cast<size_t>(m * k)) wide.resize(static_cast<size_t>(m * k));
        for (int64_t i = 0; i < m * k; ++i) {
            const uint32_t word = static_cast<uint32_t>(static_cast<const uint16_t*>(x)[i]) << 16;
            std::memcpy(&wide[static_cast<size_t>(i)], &word, sizeof word);
        }
        values = wide.data();
    }
    edgetts::run({packed, bias, n, k, group, bits}, values, y, m, Epilogue::STORE, planes, is_bf16 != 0, isa, n_threads,
                 scratch);
}

// codes: (n, k / 2), two inputs a byte, the earlier one in the low half; scales, zeros: (n, k / group) float16;
// out: as many bytes as edgetts_packed_bytes says.
EDGETTS_API void edgetts_pack_int4(const uint8_t* codes, const uint16_t* scales, const uint16_t* zeros,
                                   uint8_t* out, int64_t n, int64_t k, int64_t group, int n_threads) {
    const Linear shape{nullptr, nullptr, n, k, group, 4};
    const int64_t bytes = block_bytes(shape), groups = k / group;
    for_each(n_threads, n_blocks(shape), [&](int64_t block) {
        uint8_t* at = out + block * bytes;
        std::memset(at, 0, static_cast<size_t>(bytes));
        for (int64_t lane = 0; lane < CHANNELS && block * CHANNELS + lane < n; ++lane) {
            const int64_t channel = block * CHANNELS + lane;
            const uint8_t* row = codes + channel * (k / 2);
            uint8_t* line = at + 4 * lane;
            for (int64_t g = 0; g < groups; ++g) {
                for (int64_t i = 0; i < group / INPUTS_INT4; ++i, row += 4, line += LINE) {
                    line[0] = static_cast<uint8_t>((row[0] & 15) | (row[2] & 15) << 4);
                    line[1] = static_cast<uint8_t>(row[0] >> 4 | (row[2] & 0xf0));
                    line[2] = static_cast<uint8_t>((row[1] & 15) | (row[3] & 15) << 4);
                    line[3] = static_cast<uint8_t>(row[1] >> 4 | (row[3] & 0xf0));
                }
                uint16_t* parameters = reinterpret_cast<uint16_t*>(line - 4 * lane);
                parameters[lane] = scales[channel * groups + g];
                parameters[CHANNELS + lane] = zeros[channel * groups + g];
                line += LINE;
            }
        }
    });
}

// codes: (n, k) int8; scales: (n) float32.
EDGETTS_API void edgetts_pack_int8(const int8_t* codes, const float* scales, uint8_t* out, int64_t n, int64_t k,
                                   int n_threads) {
    const Linear shape{nullptr, nullptr, n, k, k, 8};
    const int64_t bytes = block_bytes(shape);
    for_each(n_threads, n_blocks(shape), [&](int64_t block) {
        uint8_t* at = out + block * bytes;
        std::memset(at, INT8_OFFSET, static_cast<size_t>(bytes));
        float* parameters = reinterpret_cast<float*>(at + bytes - LINE);
        for (int64_t lane = 0; lane < CHANNELS; ++lane) {
            const int64_t channel = block * CHANNELS + lane;
            parameters[lane] = channel < n ? scales[channel] : 0.0f;
            if (channel >= n) continue;
            const int8_t* row = codes + channel * k;
            for (int64_t i = 0; i < k; ++i)
                at[i / INPUTS_INT8 * LINE + lane * INPUTS_INT8 + i % INPUTS_INT8] =
                    static_cast<uint8_t>(row[i] + INT8_OFFSET);
        }
    });
}

EDGETTS_API int64_t edgetts_packed_bytes(int64_t n, int64_t k, int64_t group, int bits) {
    const Linear shape{nullptr, nullptr, n, k, group, bits};
    return n_blocks(shape) * block_bytes(shape);
}

// Rows [first, last) of W as float32 into out ((last - first), k); `first` is a multiple of 16.
EDGETTS_API void edgetts_unpack(const uint8_t* packed, float* out, int64_t n, int64_t k, int64_t group, int bits,
                                int64_t first, int64_t last, int n_threads) {
    const Linear shape{nullptr, nullptr, n, k, group, bits};
    const int64_t bytes = block_bytes(shape), from = first / CHANNELS;
    for_each(n_threads, (last - first + CHANNELS - 1) / CHANNELS, [&](int64_t index) {
        const uint8_t* at = packed + (from + index) * bytes;
        for (int64_t lane = 0; lane < CHANNELS && first + index * CHANNELS + lane < last; ++lane) {
            float* row = out + (index * CHANNELS + lane) * k;
            const uint8_t* line = at + 4 * lane;
            if (bits == 8) {
                const float scale = reinterpret_cast<const float*>(at + bytes - LINE)[lane];
                for (int64_t i = 0; i < k; i += INPUTS_INT8, line += LINE)
                    for (int j = 0; j < INPUTS_INT8; ++j)
                        row[i + j] = scale * static_cast<float>(line[j] - INT8_OFFSET);
                continue;
            }
            for (int64_t g = 0; g < k / group; ++g) {
                const uint16_t* parameters = reinterpret_cast<const uint16_t*>(
                    at + (g + 1) * (group / INPUTS_INT4 * LINE) + g * LINE);
                const float scale = from_fp16(parameters[lane]), zero = from_fp16(parameters[CHANNELS + lane]);
                for (int64_t i = 0; i < group; i += INPUTS_INT4, line += LINE, row += INPUTS_INT4)
                    for (int j = 0; j < 4; ++j) {
                        row[j] = scale * (static_cast<float>(line[j] & 15) - zero);
                        row[j + 4] = scale * (static_cast<float>(line[j] >> 4) - zero);
                    }
                line += LINE;
            }
        }
    });
}
