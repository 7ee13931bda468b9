// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch {

// For sources that are compiled once for each CPU capability: includes nothing, as they must not. A table is a struct of function pointers, declared in a header by
//     namespace kernels { TINYTORCH_DECLARE_PER_CAPABILITY(GemmKernels, gemm_kernels) }
// and defined in a .simd.cpp as `constinit const GemmKernels gemm_kernels = {...};` in namespace kernels::TINYTORCH_CAPABILITY.
#define TINYTORCH_DECLARE_PER_CAPABILITY(Table, name) \
  namespace DEFAULT { extern const Table name; }      \
  namespace AVX2 { extern const Table name; }         \
  namespace AVX512 { extern const Table name; }

// The addresses of the tables, for kernels::for_capability().
#ifdef __x86_64__
#define TINYTORCH_PER_CAPABILITY(name) {&DEFAULT::name, &AVX2::name, &AVX512::name}
#else
#define TINYTORCH_PER_CAPABILITY(name) {&DEFAULT::name, &DEFAULT::name, &DEFAULT::name}
#endif

}  // namespace tinytorch
