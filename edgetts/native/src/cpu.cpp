// Detects the instruction sets of this machine.
#include "variants.h"

#if EDGETTS_X86
#include <cpuid.h>
#elif defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

static int find_isas() {
    int isas = 1 << ISA_PORTABLE;
#if EDGETTS_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return isas;
    isas |= 1 << ISA_AVX2;
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned avx_vnni = 1u << 4;  // leaf 7, subleaf 1, EAX; older compilers have no name for it
    if (EDGETTS_HAS_AVX_VNNI && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx_vnni))
        isas |= 1 << ISA_AVX_VNNI;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        isas |= 1 << ISA_AVX512;
        if (__builtin_cpu_supports("avx512vnni")) isas |= 1 << ISA_AVX512_VNNI;
    }
#elif defined(__linux__) && defined(__aarch64__)
    const unsigned long dot_product = 1ul << 20;  // HWCAP_ASIMDDP
    if (getauxval(AT_HWCAP) & dot_product) isas |= 1 << ISA_NEON_DOT;
#elif defined(__APPLE__) && defined(__aarch64__)
    isas |= 1 << ISA_NEON_DOT;  // every Apple processor of this kind has it
#endif
    return isas;
}

// Bit i is set if this machine has instruction set i.
EDGETTS_API int edgetts_isas() {
    static const int isas = find_isas();
    return isas;
}

int edgetts_usable_isa(int limit) {
    int isa = limit < N_ISAS ? limit : N_ISAS - 1;
    while (isa > ISA_PORTABLE && !(edgetts_isas() >> isa & 1)) --isa;
    return isa;
}

// Raised by one whenever the C interface changes, so that a stale library is refused.
EDGETTS_API int edgetts_interface() { return 9; }
