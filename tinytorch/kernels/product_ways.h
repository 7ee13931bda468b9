// From the lesson modules/62_product_ways/product_ways_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/kernels/shape_kernels.h"

namespace tinytorch {

namespace kernels {

// The table of these kernels that run here.
template <class T>
const ShapeTable<T>& shape_table();
template <>
const ShapeTable<float>& shape_table<float>();
template <>
const ShapeTable<double>& shape_table<double>();

}  // namespace kernels

}  // namespace tinytorch
