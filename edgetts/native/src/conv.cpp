// One-dimensional convolutions in bfloat16 with float32 sums, of signals (rows, frames, channels), for processors with
// bfloat16 dot products (AVX512-BF16) and, twice to eight times as fast, matrix tiles (AMX-BF16).
//
// Nothing depends on the number of frames: no kernel is generated and cached for a length, as oneDNN does.
//
// A convolution is a matrix product whose row t is the frames t, t + dilation, ... of the input one after the other.
// With a dilation of 1 these are one piece of memory, so all taps are one long run of values; otherwise each tap is a
// run of its own. Runs are padded to the depth of a tile with zero weights. The input is read in place, except near its
// ends, where a copy with zero frames around it is made.
#include <cstring>
#include <vector>

#include "pool.h"
#include "variants.h"

#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define EDGETTS_HAS_TILES (EDGETTS_X86 && defined(__linux__))
#else
#define EDGETTS_HAS_TILES 0
#endif

// The members are part of the C interface (structures.py). A frame of the output needs the frames
// t - padding + k * dilation of the input, k < taps.
struct ConvShape {
    int64_t rows, frames, in_channels, out_channels, taps, dilation, padding;
};

namespace {

const int64_t DEPTH = 32;    // values along the sum in a tile
const int64_t COLUMNS = 16;  // output channels in a tile
const int64_t FRAMES = 16;   // output frames in a tile
const int64_t CHUNK = 256;   // output frames of a work item
const int64_t SLICE = 16;    // tiles along the sum whose weights stay in the first-level cache meanwhile

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The sum of an output value as runs of consecutive input values.
struct Runs {
    int64_t n, values, padded, step;  // step: input values between the beginnings of two runs

    explicit Runs(const ConvShape& s)
        : n(s.dilation == 1 ? 1 : s.taps),
          values(s.dilation == 1 ? s.taps * s.in_channels : s.in_channels),
          padded(round_up(values, DEPTH)),
          step(s.dilation * s.in_channels) {}
    int64_t depth() const { return n * padded; }
    // Input values that are read from the first of frame t on.
    int64_t reach() const { return (n - 1) * step + padded; }
};

}  // namespace

EDGETTS_SIZEOF(conv_shape, ConvShape)

// bfloat16 values of the packed weight.
EDGETTS_API int64_t edgetts_conv_packed(const ConvShape* shape) {
    return round_up(shape->out_channels, COLUMNS) * Runs(*shape).depth();
}

// weight (out_channels, in_channels, taps) -> (blocks of 16 output channels, pairs along the sum, 16, 2).
EDGETTS_API void edgetts_conv_pack(const uint16_t* weight, const ConvShape* shape, uint16_t* packed) {
    const ConvShape& s = *shape;
    const Runs runs(s);
    std::memset(packed, 0, sizeof(uint16_t) * static_cast<size_t>(edgetts_conv_packed(shape)));
    for (int64_t o = 0; o < s.out_channels; ++o) {
        uint16_t* block = packed + o / COLUMNS * COLUMNS * runs.depth() + o % COLUMNS * 2;
        for (int64_t k = 0; k < s.taps; ++k)
            for (int64_t i = 0; i < s.in_channels; ++i) {
                const int64_t place = s.dilation == 1 ? k * s.in_channels + i : k * runs.padded + i;
                block[place / 2 * 2 * COLUMNS + place % 2] = weight[(o * s.in_channels + i) * s.taps + k];
            }
    }
}

#if EDGETTS_HAS_TILES
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// Whether the processor has tiles and Linux lets this process use them; it must be asked once.
bool find_tiles() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned bf16_tiles = 1u << 22, tiles = 1u << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & bf16_tiles) == 0 || (d & tiles) == 0) return false;
    const long request_permission = 0x1023, tile_data = 18;  // arch_prctl, asm/prctl.h
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

bool has_dots() {
    return edgetts_usable_isa(ISA_AVX512) == ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
}

bool has_tiles() {
    static const bool found = find_tiles();
    return found && has_dots();
}

}  // namespace

#define FEATURES_BF16 FEATURES_AVX512 ",avx512bf16"
VARIANT_BEGIN(FEATURES_BF16)

namespace {

// Rows of output from sums: bias is added, and the residual if there is one.
inline void finish(const float* sums, int64_t n_columns, const float* bias, const uint16_t* residual, uint16_t* y) {
    const __mmask16 mask = static_cast<__mmask16>((1u << n_columns) - 1u);
    __m512 value = _mm512_loadu_ps(sums);
    if (bias != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, bias));
    if (residual != nullptr) {
        const __m256i half = _mm256_maskz_loadu_epi16(mask, residual);
        value = _mm512_add_ps(value, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16)));
    }
    const __m256bh half = _mm512_cvtneps_pbh(value);
    __m256i bits;
    std::memcpy(&bits, &half, sizeof bits);
    _mm256_mask_storeu_epi16(y, mask, bits);
}

// sums (n_frames, 16 N) += input by weights, over `n_tiles` tiles along the sum; M frames at a time.
template <int N, int M>
void add_dots(const uint16_t* x, int64_t frame_step, const uint16_t* const* weights, int64_t n_tiles, float* sums) {
    __m512 total[M][N];
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) total[m][n] = _mm512_loadu_ps(sums + m * N * COLUMNS + n * COLUMNS);
    for (int64_t pair = 0; pair < n_tiles * DEPTH / 2; ++pair) {
        __m512i columns[N];
        for (int n = 0; n < N; ++n) columns[n] = _mm512_loadu_si512(weights[n] + pair * 2 * COLUMNS);
        for (int m = 0; m < M; ++m) {
            int32_t word;
            std::memcpy(&word, x + m * frame_step + 2 * pair, sizeof word);
            const __m512i values = _mm512_set1_epi32(word);
            for (int n = 0; n < N; ++n)
                total[m][n] = _mm512_dpbf16_ps(total[m][n], reinterpret_cast<__m512bh>(values),
                                               reinterpret_cast<__m512bh>(columns[n]));
        }
    }
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) _mm512_storeu_ps(sums + m * N * COLUMNS + n * COLUMNS, total[m][n]);
}

template <int N>
void add_block_of_dots(const uint16_t* x, int64_t frame_step, const uint16_t* const* weights, int64_t n_tiles,
                       float* sums) {
    const int M = N == 2 ? 8 : 16;
    for (int64_t m = 0; m < 2 * FRAMES; m += M)
        add_dots<N, M>(x + m * frame_step, frame_step, weights, n_tiles, sums + m * N * COLUMNS);
}

}  // namespace

VARIANT_END

#define FEATURES_TILES FEATURES_BF16 ",amx-tile,amx-bf16"
VARIANT_BEGIN(FEATURES_TILES)

namespace {

// GCC's tile functions do not say which memory they read and write.
inline void all_memory_counts() { asm volatile("" ::: "memory"); }

struct alignas(64) TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];  // of a row
    uint8_t rows[16];
};

void configure_tiles() {
    static const TileConfig config = {
        1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    all_memory_counts();
    _tile_loadconfig(&config);
}

void release_tiles() { _tile_release(); }

// sums (32 frames, 16 N) += input by weights, over `n_tiles` tiles along the sum.
template <int N>
void add_block_of_tiles(const uint16_t* x, int64_t frame_step, const uint16_t* const* weights, int64_t n_tiles,
                        float* sums) {
    const int64_t sum_stride = N * COLUMNS * 4, x_stride = frame_step * 2;
    const uint16_t* below = x + FRAMES * frame_step;
    float* sums_below = sums + FRAMES * N * COLUMNS;
    all_memory_counts();
    _tile_loadd(0, sums, sum_stride);
    _tile_loadd(2, sums_below, sum_stride);
    if (N == 2) {
        _tile_loadd(1, sums + COLUMNS, sum_stride);
        _tile_loadd(3, sums_below + COLUMNS, sum_stride);
    }
    for (int64_t i = 0; i < n_tiles; ++i) {
        _tile_loadd(4, x + i * DEPTH, x_stride);
        _tile_loadd(6, weights[0] + i * DEPTH * COLUMNS, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (N == 2) {
            _tile_loadd(7, weights[1] + i * DEPTH * COLUMNS, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        _tile_loadd(5, below + i * DEPTH, x_stride);
        _tile_dpbf16ps(2, 5, 6);
        if (N == 2) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, sum_stride);
    _tile_stored(2, sums_below, sum_stride);
    if (N == 2) {
        _tile_stored(1, sums + COLUMNS, sum_stride);
        _tile_stored(3, sums_below + COLUMNS, sum_stride);
    }
    all_memory_counts();
}

}  // namespace

VARIANT_END
VARIANT_BEGIN(FEATURES_BF16)

namespace {

struct Scratch {
    std::vector<float> sums;
    std::vector<uint16_t> around;
};

// Output frames [begin, end) of one row, 16 N channels from `column` on.
template <int N>
void convolve(const ConvShape& s, const Runs& runs, const uint16_t* x, const uint16_t* packed, const float* bias,
              const uint16_t* residual, uint16_t* y, int64_t begin, int64_t end, int64_t column, bool tiles,
              Scratch& scratch) {
    const int64_t channels = s.in_channels, padded_end = begin + round_up(end - begin, 2 * FRAMES);
    const int64_t first = (begin - s.padding) * channels;  // input value, counted from the first of the row
    const int64_t n_read = (padded_end - begin - 1) * channels + runs.reach();
    const uint16_t* from = x + first;
    if (first < 0 || first + n_read > s.frames * channels) {
        if (scratch.around.size() < static_cast<size_t>(n_read)) scratch.around.resize(static_cast<size_t>(n_read));
        uint16_t* to = scratch.around.data();
        const int64_t before = first < 0 ? (-first < n_read ? -first : n_read) : 0;
        int64_t there = s.frames * channels - (first + before);
        there = there < 0 ? 0 : (there < n_read - before ? there : n_read - before);
        std::memset(to, 0, sizeof(uint16_t) * static_cast<size_t>(n_read));
        if (there > 0) std::memcpy(to + before, x + first + before, sizeof(uint16_t) * static_cast<size_t>(there));
        from = to;
    }
    const size_t n_sums = static_cast<size_t>((padded_end - begin) * N * COLUMNS);
    if (scratch.sums.size() < n_sums) scratch.sums.resize(n_sums);
    float* sums = scratch.sums.data();
    std::memset(sums, 0, sizeof(float) * n_sums);
    const int64_t per_run = runs.padded / DEPTH, block = COLUMNS * runs.depth();
    for (int64_t run = 0; run < runs.n; ++run)
        for (int64_t slice = 0; slice < per_run; slice += SLICE) {
            const int64_t n_tiles = per_run - slice < SLICE ? per_run - slice : SLICE;
            const int64_t place = run * per_run + slice;
            const uint16_t* weights[2] = {packed + column / COLUMNS * block + place * DEPTH * COLUMNS, nullptr};
            weights[1] = weights[0] + block;
            const uint16_t* values = from + run * runs.step + slice * DEPTH;
            for (int64_t t = 0; t < padded_end - begin; t += 2 * FRAMES) {
                if (tiles) add_block_of_tiles<N>(values + t * channels, channels, weights, n_tiles, sums + t * N * COLUMNS);
                else add_block_of_dots<N>(values + t * channels, channels, weights, n_tiles, sums + t * N * COLUMNS);
            }
        }
    for (int64_t t = begin; t < end; ++t)
        for (int n = 0; n < N; ++n) {
            const int64_t c = column + n * COLUMNS, left = s.out_channels - c;
            if (left <= 0) break;
            finish(sums + ((t - begin) * N + n) * COLUMNS, left < COLUMNS ? left : COLUMNS,
                   bias == nullptr ? nullptr : bias + c, residual == nullptr ? nullptr : residual + t * s.out_channels + c,
                   y + t * s.out_channels + c);
        }
}

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

// x (rows, frames, in_channels), bias (out_channels) float32 or null, residual as y or null -> y (rows, output frames,
// out_channels), bfloat16. Output frames: frames + 2 padding - dilation (taps - 1), at least 1. `level`: at most which
// of edgetts_convolves, which must not be 0.
EDGETTS_API void edgetts_convolve(const uint16_t* x, const uint16_t* packed, const float* bias, const uint16_t* residual,
                                  uint16_t* y, const ConvShape* shape, int level, int n_threads) {
#if EDGETTS_HAS_TILES
    const ConvShape& s = *shape;
    const Runs runs(s);
    const bool tiles = level >= 2 && has_tiles();
    const int64_t n_out = s.frames + 2 * s.padding - s.dilation * (s.taps - 1);
    const int64_t chunks = (n_out + CHUNK - 1) / CHUNK, pairs = (s.out_channels + 2 * COLUMNS - 1) / (2 * COLUMNS);
    for_each(n_threads, s.rows * pairs * chunks, [&](int64_t item) {
        static thread_local Scratch scratch;
        const int64_t chunk = item % chunks, pair = item / chunks % pairs, row = item / chunks / pairs;
        const int64_t begin = chunk * CHUNK, end = begin + CHUNK < n_out ? begin + CHUNK : n_out;
        const int64_t column = pair * 2 * COLUMNS, out = row * n_out * s.out_channels;
        const uint16_t* own_x = x + row * s.frames * s.in_channels;
        const uint16_t* own_residual = residual == nullptr ? nullptr : residual + out;
        if (tiles) configure_tiles();
        if (s.out_channels - column > COLUMNS)
            convolve<2>(s, runs, own_x, packed, bias, own_residual, y + out, begin, end, column, tiles, scratch);
        else
            convolve<1>(s, runs, own_x, packed, bias, own_residual, y + out, begin, end, column, tiles, scratch);
        if (tiles) release_tiles();
    });
#else
    (void)x, (void)packed, (void)bias, (void)residual, (void)y, (void)shape, (void)level, (void)n_threads;
#endif
}
