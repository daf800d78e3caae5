// Compiles one source for several instruction sets, in one binary that runs everywhere.
//
// A file X.cpp includes X_body.inc once per instruction set, each time between VARIANT_BEGIN and VARIANT_END;
// the body has a namespace of its own. Its loops are plain, vectorized by the compiler for the current set, or
// use intrinsics. Include headers before it, never inside: their functions would be compiled for the wrong
// instruction set.
#pragma once

#include <cstdint>

#define EDGETTS_API extern "C" __attribute__((visibility("default")))

// Instruction sets, slowest first; the numbers are part of the C interface.
enum Isa : int { ISA_PORTABLE, ISA_NEON_DOT, ISA_AVX2, ISA_AVX_VNNI, ISA_AVX512, ISA_AVX512_VNNI, N_ISAS };

#if defined(__x86_64__)
#define EDGETTS_X86 1
#else
#define EDGETTS_X86 0
#endif

// Compilers that know the 256-bit dot product of processors without AVX-512.
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define EDGETTS_HAS_AVX_VNNI EDGETTS_X86
#else
#define EDGETTS_HAS_AVX_VNNI 0
#endif

#define EDGETTS_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define VARIANT_BEGIN(features) \
    EDGETTS_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define VARIANT_END EDGETTS_PRAGMA(clang attribute pop)
#else
#define VARIANT_BEGIN(features) EDGETTS_PRAGMA(GCC push_options) EDGETTS_PRAGMA(GCC target(features))
#define VARIANT_END EDGETTS_PRAGMA(GCC pop_options)
#endif

// Every processor with AVX2 converts float16, too.
#define FEATURES_AVX2 "avx2,fma,f16c"
#define FEATURES_AVX_VNNI FEATURES_AVX2 ",avxvnni"
#if defined(__clang__)
#define EDGETTS_WIDE ""
#else
#define EDGETTS_WIDE ",prefer-vector-width=512"  // without it GCC keeps to 256-bit vectors
#endif
#define FEATURES_AVX512 FEATURES_AVX2 ",avx512f,avx512bw,avx512vl,avx512dq" EDGETTS_WIDE
#define FEATURES_AVX512_VNNI FEATURES_AVX2 ",avx512f,avx512bw,avx512vl,avx512dq,avx512vnni" EDGETTS_WIDE
#if defined(__clang__)
#define FEATURES_NEON_DOT "dotprod"
#else
#define FEATURES_NEON_DOT "arch=armv8.2-a+dotprod"
#endif

// The fastest set up to `limit` that this machine has.
int edgetts_usable_isa(int limit);

// Exports the size of a structure that Python declares, too (structures.py), so that loading can compare the two.
#define EDGETTS_SIZEOF(NAME, STRUCTURE) \
    EDGETTS_API int64_t edgetts_sizeof_##NAME() { return static_cast<int64_t>(sizeof(STRUCTURE)); }

// Runs CALL(set, T) with the namespace of the fastest set up to `isa` and the number type chosen by `is_bf16`, two
// variables in scope. For bodies that are compiled for AVX-512, AVX2 and portably.
#if EDGETTS_X86
#define DISPATCH(CALL)                                                                   \
    isa = edgetts_usable_isa(isa);                                                       \
    if (isa >= ISA_AVX512) { is_bf16 ? CALL(avx512, uint16_t) : CALL(avx512, float); }      \
    else if (isa >= ISA_AVX2) { is_bf16 ? CALL(avx2, uint16_t) : CALL(avx2, float); }       \
    else { is_bf16 ? CALL(portable, uint16_t) : CALL(portable, float); }
#else
#define DISPATCH(CALL) \
    (void)isa;         \
    is_bf16 ? CALL(portable, uint16_t) : CALL(portable, float);
#endif
