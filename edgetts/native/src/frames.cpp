// Elementwise operations of a transformer, each fused into one pass over memory: adaptive RMS norm, rotary position
// embedding, gated units. A chain of PyTorch calls would write and read every frame several times.
//
// Numbers are float32 or bfloat16; arithmetic is float32. Threads divide the frames among them.
#include <cmath>
#include <cstring>

#include "pool.h"
#include "variants.h"

namespace {

const int64_t PER_ITEM = 64;  // frames per work item of a thread

}  // namespace

#define VARIANT_BODY "frames_body.inc"
#include "variants.inc"

namespace {

template <class Work>
void for_each_frame(int n_threads, int64_t n, Work work) {
    for_each(n_threads, (n + PER_ITEM - 1) / PER_ITEM, [&](int64_t item) {
        const int64_t end = (item + 1) * PER_ITEM < n ? (item + 1) * PER_ITEM : n;
        for (int64_t i = item * PER_ITEM; i < end; ++i) work(i);
    });
}

}  // namespace

// y = rms_norm(x) * gain + bias for n frames of `channels`, both contiguous. conditions: rows of gains, then biases
// (2 channels each), frame i belonging to row i / per_row.
EDGETTS_API void edgetts_norm_frames(const void* x, const void* conditions, void* y, int64_t n, int64_t per_row,
                                     int64_t channels, float epsilon, int is_bf16, int isa, int n_threads) {
#define NORM(set, T)                                                                                             \
    for_each_frame(n_threads, n, [&](int64_t i) {                                                                \
        set::normalize(static_cast<const T*>(x) + i * channels,                                                  \
                       static_cast<const T*>(conditions) + i / per_row * 2 * channels, channels, epsilon,        \
                       static_cast<T*>(y) + i * channels);                                                       \
    })
    DISPATCH(NORM)
#undef NORM
}

// Rotates the first `heads` heads of each frame: x has `step` numbers a frame, heads of `dim`, pairs as two halves;
// y (n, heads, dim) contiguous. cos, sin: (length, dim / 2) float32, frame i having position i % length.
EDGETTS_API void edgetts_rotate_frames(const void* x, const float* cos, const float* sin, void* y, int64_t n,
                                       int64_t length, int64_t step, int64_t heads, int64_t dim, int is_bf16, int isa,
                                       int n_threads) {
#define ROTATE(set, T)                                                                                           \
    for_each_frame(n_threads, n, [&](int64_t i) {                                                                \
        const int64_t at = i % length * (dim / 2);                                                               \
        set::rotate(static_cast<const T*>(x) + i * step, cos + at, sin + at, heads, dim,                         \
                    static_cast<T*>(y) + i * heads * dim);                                                       \
    })
    DISPATCH(ROTATE)
#undef ROTATE
}

// y (n, width) = silu(first half) * second half of x (n, 2 width), both contiguous.
EDGETTS_API void edgetts_swiglu_frames(const void* x, void* y, int64_t n, int64_t width, int is_bf16, int isa,
                                       int n_threads) {
#define SWIGLU(set, T)                                                                                           \
    for_each_frame(n_threads, n, [&](int64_t i) {                                                                \
        set::swiglu(static_cast<const T*>(x) + i * 2 * width, width, static_cast<T*>(y) + i * width);            \
    })
    DISPATCH(SWIGLU)
#undef SWIGLU
}

// y (n, width) = tanh(first half) * sigmoid(second half) of x (n, 2 width) plus the bias of row i / per_row; biases
// are (2 width) numbers, `step` from row to row.
EDGETTS_API void edgetts_gate_frames(const void* x, const void* biases, void* y, int64_t n, int64_t per_row,
                                     int64_t step, int64_t width, int is_bf16, int isa, int n_threads) {
#define GATE(set, T)                                                                                             \
    for_each_frame(n_threads, n, [&](int64_t i) {                                                                \
        set::gate(static_cast<const T*>(x) + i * 2 * width, static_cast<const T*>(biases) + i / per_row * step,  \
                  width, static_cast<T*>(y) + i * width);                                                        \
    })
    DISPATCH(GATE)
#undef GATE
}
