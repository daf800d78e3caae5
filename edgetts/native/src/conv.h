// One-dimensional convolutions over signals (rows, frames, channels): what float32 and bfloat16 share.
//
// A convolution is a matrix product whose row t has the input frames t, t + dilation, ... in a row.
// With a dilation of 1 these are contiguous, so all taps are one run of values; otherwise each tap is a run of its own. Runs are padded with zero weights to the depth of the instructions. The input is read in place,
// except near its ends, where a copy with zero frames around it is made.
#pragma once

#include <cstdint>

// The members are part of the C interface (structures.py). Frame t of the output needs the frames
// t - padding + k * dilation of the input, k < taps.
struct ConvShape {
    int64_t rows, frames, in_channels, out_channels, taps, dilation, padding;
};

namespace edgetts {

const int64_t CONV_COLUMNS = 16;  // output channels of a block of weights

// The kernel for signals of T. Sums are float32 (frames, 16 n_blocks), n_blocks 1 or 2.
template <class T>
struct ConvKernel {
    int64_t depth;   // input values summed at once
    int64_t frames;  // output frames at once
    int64_t slice;   // input values whose weights stay in the L1 cache; a multiple of depth
    // sums += input by weights over n values; frame t begins at x + t * step, a block of weights starts block_step after
    // the one before. n_frames is a multiple of `frames`, n of `depth`.
    void (*add)(const T* x, int64_t step, const T* weights, int64_t block_step, int64_t n, int64_t n_frames,
                int n_blocks, float* sums);
    // y (n_frames, n_channels of a row of y_step) = sums + bias + residual, where they are not null.
    void (*finish)(const float* sums, int64_t n_frames, int n_blocks, int64_t n_channels, const float* bias,
                   const T* residual, T* y, int64_t y_step);
    void (*begin)();  // on each thread, before and after
    void (*end)();
};

// The bfloat16 kernel up to `level` (edgetts_convolves); its `frames` is 0 if this machine has none.
ConvKernel<uint16_t> bf16_conv_kernel(int level);

}  // namespace edgetts
