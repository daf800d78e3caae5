// One decoding step of a GPT-2 stack: one position for each of a few rows, over a KV cache.
//
// The linear layers are those of linear.cpp. The other operations are small; called one by one from Python they
// would take as long as the DRAM traffic of the weights.
#include <cmath>
#include <cstring>
#include <vector>

#include "linear.h"
#include "pool.h"
#include "variants.h"

namespace {

const float EPSILON = 1e-5f;  // of layer norms

// The members are part of the C interface (structures.py).
struct Norm {
    const float *weight, *bias;  // (C)
};

struct Layer {
    Norm before_attention, before_mlp;
    edgetts::Linear qkv, attention_out, mlp_in, mlp_out;
};

struct Shape {
    int64_t rows, heads, head_dim, length;  // the cache holds `length` positions; the new one is appended
    int64_t layer_step, value_step, row_step, head_step;  // strides of the cache in elements; positions are head_dim apart
};

}  // namespace

#define VARIANT_BODY "gpt_body.inc"
#include "variants.inc"

namespace {

struct Kernels {
    void (*normalize)(const float* x, const Norm& norm, int64_t channels, float* y);
    void (*attend)(const float* qkv, float* cache, const Shape& shape, int64_t item, float* scores, float* out);
    void (*attend_bf16)(const float* qkv, uint16_t* cache, const Shape& shape, int64_t item, float* scores, float* out);
};

#define KERNELS_OF(set) {set::normalize, set::attend<float>, set::attend<uint16_t>}

Kernels kernels_for(int isa) {
    isa = edgetts_usable_isa(isa);
#if EDGETTS_X86
    if (isa >= ISA_AVX512) return KERNELS_OF(avx512);
    if (isa >= ISA_AVX2) return KERNELS_OF(avx2);
#endif
    return KERNELS_OF(portable);
}

}  // namespace

EDGETTS_SIZEOF(linear, edgetts::Linear)
EDGETTS_SIZEOF(norm, Norm)
EDGETTS_SIZEOF(layer, Layer)
EDGETTS_SIZEOF(gpt_shape, Shape)

// layers: n_layers blocks; norms: n_norms after the last block; x: (rows, C) float32, embeddings in, hidden states
// out; cache: float32 or, if `is_bf16`, bfloat16, with room for the new position.
EDGETTS_API void edgetts_gpt_step(const Layer* layers, int n_layers, const Norm* norms, int n_norms, float* x,
                                  void* cache, const Shape* shape, int is_bf16, int planes, int isa, int n_threads) {
    static thread_local edgetts::Scratch scratch;
    static thread_local std::vector<float> memory;
    const Kernels kernels = kernels_for(isa);
    const int64_t rows = shape->rows, channels = shape->heads * shape->head_dim, scores = shape->length + 1;
    const int64_t hidden = n_layers > 0 ? layers[0].mlp_in.n : 0, n_items = rows * shape->heads;
    const size_t needed = static_cast<size_t>(rows * (5 * channels + hidden) + n_items * scores);
    if (memory.size() < needed) memory.resize(needed + needed / 2);  // the cache grows by one position a step
    float* normed = memory.data();               // (rows, C)
    float* qkv = normed + rows * channels;       // (rows, 3 C)
    float* attended = qkv + 3 * rows * channels;  // (rows, C)
    float* inner = attended + rows * channels;    // (rows, hidden)
    float* weights = inner + rows * hidden;       // (rows H, length + 1)
    using edgetts::Epilogue;
    const auto multiply = [&](const edgetts::Linear& layer, const float* from, float* to, Epilogue epilogue) {
        edgetts::run(layer, from, to, rows, epilogue, planes, false, isa, n_threads, scratch);
    };
    const auto normalize = [&](const Norm& norm, float* to) {
        for (int64_t row = 0; row < rows; ++row)
            kernels.normalize(x + row * channels, norm, channels, to + row * channels);
    };
    for (int i = 0; i < n_layers; ++i) {
        const Layer& layer = layers[i];
        normalize(layer.before_attention, normed);
        multiply(layer.qkv, normed, qkv, Epilogue::STORE);
        for_each(n_threads, n_items, [&](int64_t item) {
            float* own = weights + item * scores;
            const int64_t at = i * shape->layer_step;
            if (is_bf16)
                kernels.attend_bf16(qkv, static_cast<uint16_t*>(cache) + at, *shape, item, own, attended);
            else
                kernels.attend(qkv, static_cast<float*>(cache) + at, *shape, item, own, attended);
        });
        multiply(layer.attention_out, attended, x, Epilogue::ADD);
        normalize(layer.before_mlp, normed);
        multiply(layer.mlp_in, normed, inner, Epilogue::GELU);
        multiply(layer.mlp_out, inner, x, Epilogue::ADD);
    }
    for (int i = 0; i < n_norms; ++i) {
        normalize(norms[i], normed);
        std::memcpy(x, normed, static_cast<size_t>(rows * channels) * sizeof *x);
    }
}
