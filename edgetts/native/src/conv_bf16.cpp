// Convolutions in bfloat16 with float32 sums (conv.h), for processors with bfloat16 dot products (AVX512-BF16) and, six
// times as fast, matrix tiles (AMX-BF16).
#include <cstring>

#include "conv.h"
#include "variants.h"

#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define EDGETTS_HAS_TILES (EDGETTS_X86 && defined(__linux__))
#else
#define EDGETTS_HAS_TILES 0
#endif

#if EDGETTS_HAS_TILES
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

const int64_t DEPTH = 32;   // input values of a tile
const int64_t FRAMES = 16;  // of a tile
const int64_t COLUMNS = edgetts::CONV_COLUMNS;

bool has_dots() {
    return edgetts_usable_isa(ISA_AVX512) == ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
}

// Whether the processor has tiles and Linux lets this process use them; permission is requested once.
bool find_tiles() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned bf16_tiles = 1u << 22, tiles = 1u << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & bf16_tiles) == 0 || (d & tiles) == 0) return false;
    const long request_permission = 0x1023, tile_data = 18;  // arch_prctl, asm/prctl.h
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

bool has_tiles() {
    static const bool found = find_tiles();
    return found && has_dots();
}

}  // namespace

#define FEATURES_BF16 FEATURES_AVX512 ",avx512bf16"
VARIANT_BEGIN(FEATURES_BF16)

namespace {

void finish(const float* sums, int64_t n_frames, int n_blocks, int64_t n_channels, const float* bias,
            const uint16_t* residual, uint16_t* y, int64_t y_step) {
    for (int64_t t = 0; t < n_frames; ++t, y += y_step)
        for (int64_t c = 0; c < n_channels; c += COLUMNS) {
            const int64_t left = n_channels - c;
            const __mmask16 mask = left < COLUMNS ? static_cast<__mmask16>((1u << left) - 1u) : 0xffff;
            __m512 value = _mm512_loadu_ps(sums + t * n_blocks * COLUMNS + c);
            if (bias != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, bias + c));
            if (residual != nullptr) {
                const __m256i bf16 = _mm256_maskz_loadu_epi16(mask, residual + t * y_step + c);
                value = _mm512_add_ps(value, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16)));
            }
            const __m256bh bf16 = _mm512_cvtneps_pbh(value);
            __m256i bits;
            std::memcpy(&bits, &bf16, sizeof bits);
            _mm256_mask_storeu_epi16(y + c, mask, bits);
        }
}

// M frames.
template <int N, int M>
void add_frames(const uint16_t* x, int64_t step, const uint16_t* weights, int64_t block_step, int64_t n,
                   float* sums) {
    __m512 total[M][N];
    for (int m = 0; m < M; ++m)
        for (int b = 0; b < N; ++b) total[m][b] = _mm512_loadu_ps(sums + (m * N + b) * COLUMNS);
    for (int64_t i = 0; i < n; i += 2) {
        __m512i columns[N];
        for (int b = 0; b < N; ++b) columns[b] = _mm512_loadu_si512(weights + b * block_step + i * COLUMNS);
        for (int m = 0; m < M; ++m) {
            int32_t word;
            std::memcpy(&word, x + m * step + i, sizeof word);
            const __m512i values = _mm512_set1_epi32(word);
            for (int b = 0; b < N; ++b)
                total[m][b] = _mm512_dpbf16_ps(total[m][b], reinterpret_cast<__m512bh>(values),
                                               reinterpret_cast<__m512bh>(columns[b]));
        }
    }
    for (int m = 0; m < M; ++m)
        for (int b = 0; b < N; ++b) _mm512_storeu_ps(sums + (m * N + b) * COLUMNS, total[m][b]);
}

template <int N>
void add_dots(const uint16_t* x, int64_t step, const uint16_t* weights, int64_t block_step, int64_t n, int64_t n_frames,
              float* sums) {
    const int M = 16 / N;
    for (int64_t t = 0; t < n_frames; t += M)
        add_frames<N, M>(x + t * step, step, weights, block_step, n, sums + t * N * COLUMNS);
}

void add_by_dots(const uint16_t* x, int64_t step, const uint16_t* weights, int64_t block_step, int64_t n,
                 int64_t n_frames, int n_blocks, float* sums) {
    if (n_blocks == 2) add_dots<2>(x, step, weights, block_step, n, n_frames, sums);
    else add_dots<1>(x, step, weights, block_step, n, n_frames, sums);
}

}  // namespace

VARIANT_END

#define FEATURES_TILES FEATURES_BF16 ",amx-tile,amx-bf16"
VARIANT_BEGIN(FEATURES_TILES)

namespace {

// GCC's tile intrinsics do not declare the memory that they read and write.
inline void compiler_barrier() { asm volatile("" ::: "memory"); }

struct alignas(64) TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];  // of a row
    uint8_t rows[16];
};

void configure_tiles() {
    static const TileConfig config = {
        1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    compiler_barrier();
    _tile_loadconfig(&config);
}

void release_tiles() { _tile_release(); }

// 32 frames.
template <int N>
void add_tiles(const uint16_t* x, int64_t step, const uint16_t* weights, int64_t block_step, int64_t n, float* sums) {
    const int64_t sum_stride = N * COLUMNS * 4, x_stride = step * 2;
    const uint16_t* below = x + FRAMES * step;
    float* sums_below = sums + FRAMES * N * COLUMNS;
    compiler_barrier();
    _tile_loadd(0, sums, sum_stride);
    _tile_loadd(2, sums_below, sum_stride);
    if (N == 2) {
        _tile_loadd(1, sums + COLUMNS, sum_stride);
        _tile_loadd(3, sums_below + COLUMNS, sum_stride);
    }
    for (int64_t i = 0; i < n; i += DEPTH) {
        _tile_loadd(4, x + i, x_stride);
        _tile_loadd(6, weights + i * COLUMNS, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (N == 2) {
            _tile_loadd(7, weights + block_step + i * COLUMNS, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        _tile_loadd(5, below + i, x_stride);
        _tile_dpbf16ps(2, 5, 6);
        if (N == 2) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, sum_stride);
    _tile_stored(2, sums_below, sum_stride);
    if (N == 2) {
        _tile_stored(1, sums + COLUMNS, sum_stride);
        _tile_stored(3, sums_below + COLUMNS, sum_stride);
    }
    compiler_barrier();
}

void add_by_tiles(const uint16_t* x, int64_t step, const uint16_t* weights, int64_t block_step, int64_t n,
                  int64_t n_frames, int n_blocks, float* sums) {
    for (int64_t t = 0; t < n_frames; t += 2 * FRAMES) {
        if (n_blocks == 2) add_tiles<2>(x + t * step, step, weights, block_step, n, sums + t * 2 * COLUMNS);
        else add_tiles<1>(x + t * step, step, weights, block_step, n, sums + t * COLUMNS);
    }
}

void nothing() {}

}  // namespace

VARIANT_END
#endif

// 0: not supported by this machine and build, 1: with dot products, 2: with tiles.
EDGETTS_API int edgetts_convolves() {
#if EDGETTS_HAS_TILES
    return has_tiles() ? 2 : (has_dots() ? 1 : 0);
#else
    return 0;
#endif
}

edgetts::ConvKernel<uint16_t> edgetts::bf16_conv_kernel(int level) {
#if EDGETTS_HAS_TILES
    if (level >= 2 && has_tiles())
        return {DEPTH, 2 * FRAMES, 16 * DEPTH, add_by_tiles, finish, configure_tiles, release_tiles};
    if (has_dots()) return {DEPTH, FRAMES, 16 * DEPTH, add_by_dots, finish, nothing, nothing};
#endif
    (void)level;
    return {};
}
