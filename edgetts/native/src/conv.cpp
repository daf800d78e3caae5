// One-dimensional convolutions (conv.h) in float32 and bfloat16. Nothing depends on the number of frames: no code is
// generated and cached per length, as in oneDNN.
#include "conv.h"

#include <cstring>
#include <vector>

#include "pool.h"
#include "variants.h"

#define VARIANT_BODY "conv_body.inc"
#include "variants.inc"

namespace {

using edgetts::ConvKernel;

const int64_t COLUMNS = edgetts::CONV_COLUMNS;
const int64_t BF16_DEPTH = 32;  // input values of a tile
const int64_t CHUNK = 256;      // output frames of a work item, about
const int64_t SLICE = 256;      // input values in float32 whose weights fit into the L1 cache

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The input values that an output value sums, as runs of consecutive ones.
struct Runs {
    int64_t n, values, padded, step;  // step: input values between the beginnings of two runs

    Runs(const ConvShape& s, int64_t depth)
        : n(s.dilation == 1 ? 1 : s.taps),
          values(s.dilation == 1 ? s.taps * s.in_channels : s.in_channels),
          padded(round_up(values, depth)),
          step(s.dilation * s.in_channels) {}
    int64_t all() const { return n * padded; }
    // Input values that are read from the first of a frame on.
    int64_t reach() const { return (n - 1) * step + padded; }
};

void nothing() {}

ConvKernel<float> float_kernel(int isa) {
    isa = edgetts_usable_isa(isa);
#define KERNEL_OF(set) {1, set::FRAMES, SLICE, set::add_floats, set::finish_floats, nothing, nothing}
#if EDGETTS_X86
    if (isa >= ISA_AVX512) return KERNEL_OF(avx512);
    if (isa >= ISA_AVX2) return KERNEL_OF(avx2);
#endif
    (void)isa;
    return KERNEL_OF(portable);
}

template <class T>
struct Scratch {
    std::vector<float> sums;
    std::vector<T> padded_input;
};

// Output frames [begin, end) of one row; weights and y begin at the first of the `n_channels` (at most 32) computed.
template <class T>
void convolve(const ConvKernel<T>& kernel, const ConvShape& s, const Runs& runs, const T* x, const T* weights,
              const float* bias, const T* residual, T* y, int64_t begin, int64_t end, int64_t n_channels,
              Scratch<T>& scratch) {
    const int64_t channels = s.in_channels, n_frames = round_up(end - begin, kernel.frames);
    const int64_t first = (begin - s.padding) * channels;  // input value, counted from the first of the row
    const int64_t n_read = (n_frames - 1) * channels + runs.reach(), n_values = s.frames * channels;
    const T* from = x + first;
    if (first < 0 || first + n_read > n_values) {
        if (scratch.padded_input.size() < static_cast<size_t>(n_read)) scratch.padded_input.resize(static_cast<size_t>(n_read));
        T* to = scratch.padded_input.data();
        const int64_t before = first < 0 ? (-first < n_read ? -first : n_read) : 0;
        int64_t n_copied = n_values - (first + before);
        n_copied = n_copied < 0 ? 0 : (n_copied < n_read - before ? n_copied : n_read - before);
        std::memset(static_cast<void*>(to), 0, sizeof(T) * static_cast<size_t>(n_read));
        if (n_copied > 0) std::memcpy(to + before, x + first + before, sizeof(T) * static_cast<size_t>(n_copied));
        from = to;
    }
    const int n_blocks = n_channels > COLUMNS ? 2 : 1;
    const size_t n_sums = static_cast<size_t>(n_frames * n_blocks * COLUMNS);
    if (scratch.sums.size() < n_sums) scratch.sums.resize(n_sums);
    float* sums = scratch.sums.data();
    std::memset(sums, 0, sizeof(float) * n_sums);
    for (int64_t run = 0; run < runs.n; ++run)
        for (int64_t at = 0; at < runs.padded; at += kernel.slice) {
            const int64_t n = runs.padded - at < kernel.slice ? runs.padded - at : kernel.slice;
            kernel.add(from + run * runs.step + at, channels, weights + (run * runs.padded + at) * COLUMNS,
                       COLUMNS * runs.all(), n, n_frames, n_blocks, sums);
        }
    kernel.finish(sums, end - begin, n_blocks, n_channels, bias, residual, y, s.out_channels);
}

template <class T>
void convolve_all(const ConvKernel<T>& kernel, const T* x, const T* packed, const float* bias, const T* residual, T* y,
                  const ConvShape& s, int n_threads) {
    const Runs runs(s, kernel.depth);
    const int64_t n_out = s.frames + 2 * s.padding - s.dilation * (s.taps - 1), chunk = round_up(CHUNK, kernel.frames);
    const int64_t chunks = (n_out + chunk - 1) / chunk, pairs = (s.out_channels + 2 * COLUMNS - 1) / (2 * COLUMNS);
    for_each(n_threads, s.rows * pairs * chunks, [&](int64_t item) {
        static thread_local Scratch<T> scratch;
        const int64_t begin = item % chunks * chunk, end = begin + chunk < n_out ? begin + chunk : n_out;
        const int64_t column = item / chunks % pairs * 2 * COLUMNS, row = item / chunks / pairs;
        const int64_t left = s.out_channels - column, out = (row * n_out + begin) * s.out_channels + column;
        kernel.begin();
        convolve(kernel, s, runs, x + row * s.frames * s.in_channels, packed + column * runs.all(),
                 bias == nullptr ? nullptr : bias + column, residual == nullptr ? nullptr : residual + out, y + out,
                 begin, end, left < 2 * COLUMNS ? left : 2 * COLUMNS, scratch);
        kernel.end();
    });
}

// weight (out_channels, in_channels, taps) -> (blocks of 16 output channels, groups of `group` values along the sum,
// 16, group).
template <class T>
void pack(const T* weight, const ConvShape& s, int64_t depth, int64_t group, T* packed) {
    const Runs runs(s, depth);
    std::memset(static_cast<void*>(packed), 0,
                sizeof(T) * static_cast<size_t>(round_up(s.out_channels, COLUMNS) * runs.all()));
    for (int64_t o = 0; o < s.out_channels; ++o) {
        T* block = packed + o / COLUMNS * COLUMNS * runs.all() + o % COLUMNS * group;
        for (int64_t k = 0; k < s.taps; ++k)
            for (int64_t i = 0; i < s.in_channels; ++i) {
                const int64_t place = s.dilation == 1 ? k * s.in_channels + i : k * runs.padded + i;
                block[place / group * group * COLUMNS + place % group] = weight[(o * s.in_channels + i) * s.taps + k];
            }
    }
}

}  // namespace

EDGETTS_SIZEOF(conv_shape, ConvShape)

// Number of elements of the packed weight, float32 or, if `is_bf16`, bfloat16.
EDGETTS_API int64_t edgetts_conv_packed(const ConvShape* shape, int is_bf16) {
    return round_up(shape->out_channels, COLUMNS) * Runs(*shape, is_bf16 ? BF16_DEPTH : 1).all();
}

// weight (out_channels, in_channels, taps) -> packed, edgetts_conv_packed elements.
EDGETTS_API void edgetts_conv_pack(const void* weight, const ConvShape* shape, int is_bf16, void* packed) {
    if (is_bf16) pack(static_cast<const uint16_t*>(weight), *shape, BF16_DEPTH, 2, static_cast<uint16_t*>(packed));
    else pack(static_cast<const float*>(weight), *shape, 1, 1, static_cast<float*>(packed));
}

// x (rows, frames, in_channels), bias (out_channels) float32 or null, residual as y or null -> y (rows, output frames,
// out_channels), float32 or, if `is_bf16`, bfloat16. Output frames: frames + 2 padding - dilation (taps - 1), at least 1.
// level: upper limit of edgetts_convolves, not 0 if `is_bf16`; isa: upper limit for float32.
EDGETTS_API void edgetts_convolve(const void* x, const void* packed, const float* bias, const void* residual, void* y,
                                  const ConvShape* shape, int is_bf16, int level, int isa, int n_threads) {
    if (is_bf16) {
        typedef uint16_t T;
        convolve_all(edgetts::bf16_conv_kernel(level), static_cast<const T*>(x), static_cast<const T*>(packed), bias,
                     static_cast<const T*>(residual), static_cast<T*>(y), *shape, n_threads);
    } else {
        typedef float T;
        convolve_all(float_kernel(isa), static_cast<const T*>(x), static_cast<const T*>(packed), bias,
                     static_cast<const T*>(residual), static_cast<T*>(y), *shape, n_threads);
    }
}
