// Linear layers with packed int4 or int8 weights, for use by other kernels. linear.cpp describes the layout.
#pragma once

#include <cstdint>
#include <vector>

namespace edgetts {

// What is applied to a product before it is stored.
enum class Epilogue { STORE, ADD, GELU };

// A packed weight: n outputs, k inputs. For int8, `group` is that of the activations. The members are part of
// the C interface (structures.py).
struct Linear {
    const uint8_t* packed;
    const float* bias;  // (n) or null
    int64_t n, k, group, bits;
};

// Scratch memory of one calling thread: it grows to the largest layer, after that nothing is allocated.
struct Scratch {
    std::vector<float> floats;
    std::vector<int8_t> codes;
};

// y (m, n) from x (m, k), float32; `is_bf16`: y is bfloat16. ADD: y += result. `planes` of the activations as in
// edgetts_linear.
void run(const Linear& layer, const float* x, void* y, int64_t m, Epilogue epilogue, int planes, bool is_bf16, int isa,
         int n_threads, Scratch& scratch);

}  // namespace edgetts
