// kernels/product_shapes.simd.cpp for the CPU capability DEFAULT.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.

// On ARM Highway is to use what every NEON has; with its own choice at run time, which is not used here, it asks for the crypto extension too.
#define TOOLCHAIN_MISS_SYS_AUXV_H
#define TINYTORCH_CAPABILITY DEFAULT
#include "tinytorch/kernels/product_shapes.simd.cpp"
