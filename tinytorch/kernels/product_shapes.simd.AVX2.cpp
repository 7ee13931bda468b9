// kernels/product_shapes.simd.cpp for the CPU capability AVX2.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.

#ifdef __x86_64__
#define TINYTORCH_CAPABILITY AVX2
#include "tinytorch/kernels/product_shapes.simd.cpp"
#endif
