// kernels/half_products.simd.cpp for the CPU capability DEFAULT.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.

#define TINYTORCH_CAPABILITY DEFAULT
#include "tinytorch/kernels/half_products.simd.cpp"
