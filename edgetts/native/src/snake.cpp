// SnakeBeta between 2x up- and downsampling, forward and backward, in one pass over the signal.
//
// The plain form writes and reads the upsampled signal several times; here a block of it stays in the L1 cache.
// Rows (B C) are independent; threads divide them among them.
#include <cstring>

#include "pool.h"
#include "variants.h"

namespace {

const int TAPS = 12;
const int PHASE_TAPS = 6;   // of one polyphase half
const int REACH = 3;        // samples of context per side of one resampling step
const int BLOCK = 1024;     // outputs at a time: four buffers of floats fill 16 KB
const int LAST_BLOCK = 128;  // vectors per block in channels-last layout: two buffers fill 17 KB
const float PI_HIGH = 3.140625f;  // pi in three parts: products with small integers are exact
const float PI_MIDDLE = 9.67502593994140625e-4f;
const float PI_LOW = 1.509957990978376432e-7f;
const float INVERSE_PI = 0.318309886183790672f;
const float ROUND = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
const float HALF_PI = 1.5707964f;

// Taps of both resampling steps, by phase; each starts at its own offset from the sample it belongs to.
struct Filters {
    float up_even[PHASE_TAPS];    // offsets -3 .. 2
    float up_odd[PHASE_TAPS];     // offsets -2 .. 3
    float down_even[PHASE_TAPS];  // offsets -2 .. 3
    float down_odd[PHASE_TAPS];   // offsets -3 .. 2

    explicit Filters(const float* taps) {
        for (int i = 0; i < PHASE_TAPS; ++i) {
            up_even[i] = 2 * taps[TAPS - 1 - 2 * i];
            up_odd[i] = 2 * taps[TAPS - 2 - 2 * i];
            down_even[i] = taps[2 * i + 1];
            down_odd[i] = taps[2 * i];
        }
    }
};

inline int64_t clamp(int64_t i, int64_t low, int64_t high) { return i < low ? low : i > high ? high : i; }

}  // namespace

#define VARIANT_BODY "snake_body.inc"
#include "variants.inc"

// x, y: (rows, length) contiguous, float32, or bfloat16 when `is_bf16`; alpha, gain: (channels) float32, where
// row r belongs to channel r % channels; taps: the 12 taps of the low-pass. y may not overlap x.
EDGETTS_API void edgetts_snake_forward(const void* x, void* y, const float* alpha, const float* gain,
                                       const float* taps, int64_t rows, int64_t channels, int64_t length,
                                       int is_bf16, int isa, int n_threads) {
    const Filters filters(taps);
#define FORWARD(set, T)                                                                                      \
    for_each(n_threads, rows, [&](int64_t row) {                                                             \
        const int64_t at = row * length;                                                                     \
        set::forward(static_cast<const T*>(x) + at, static_cast<T*>(y) + at, length, alpha[row % channels],  \
                     gain[row % channels], filters);                                                         \
    })
    DISPATCH(FORWARD)
#undef FORWARD
}

// As forward for x, y: (batch, length, channels) contiguous.
EDGETTS_API void edgetts_snake_last(const void* x, void* y, const float* alpha, const float* gain,
                                    const float* taps, int64_t batch, int64_t channels, int64_t length, int is_bf16,
                                    int isa, int n_threads) {
    const Filters filters(taps);
    const int64_t n_blocks = (length + LAST_BLOCK - 1) / LAST_BLOCK;
#define FORWARD(set, T)                                                                                      \
    for_each(n_threads, batch * n_blocks, [&](int64_t item) {                                                \
        const int64_t at = item / n_blocks * length * channels, start = item % n_blocks * LAST_BLOCK;        \
        const int count = static_cast<int>(clamp(length - start, 0, LAST_BLOCK));                            \
        set::forward_all(static_cast<const T*>(x) + at, static_cast<T*>(y) + at, length, channels, start,    \
                         count, alpha, gain, filters);                                                       \
    })
    DISPATCH(FORWARD)
#undef FORWARD
}

// As forward, float32 only. grad_y, grad_x: (rows, length); grad_alpha, grad_gain: (rows), to be summed
// over the batch by the caller.
EDGETTS_API void edgetts_snake_backward(const float* x, const float* grad_y, const float* alpha,
                                        const float* gain, const float* taps, float* grad_x,
                                        float* grad_alpha, float* grad_gain, int64_t rows, int64_t channels,
                                        int64_t length, int isa, int n_threads) {
    const Filters filters(taps);
    const int is_bf16 = 0;
#define BACKWARD(set, T)                                                                                     \
    for_each(n_threads, rows, [&](int64_t row) {                                                             \
        const int64_t at = row * length;                                                                     \
        set::backward(x + at, grad_y + at, grad_x + at, grad_alpha + row, grad_gain + row, length,           \
                      alpha[row % channels], gain[row % channels], filters);                                 \
    })
    DISPATCH(BACKWARD)
#undef BACKWARD
}
