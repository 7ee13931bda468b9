// Convolutions, poolings and norms. Recorded by tests/golden/record_image_operators.py.
#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> image_cases() {
  // The operator objects are called by functions that have checked the number of dimensions. PyTorch's kernels are missing for some types.
  return {
      {"im2col", CALL(op::im2col(x[0], {2, 3}, {1, 1}, {1, 1}, {2, 1})), {.also_takes = "Long Int Byte", .leaves_out = "0-d"}},
      {"im2col.dilated", CALL(op::im2col(x[0], {2, 2}, {3, 2}, {0, 0}, {1, 1})), {.also_takes = "Long Int Byte", .leaves_out = "0-d"}},
      {"col2im", CALL(op::col2im(x[0], {4, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1})), {.also_takes = "Long Int Byte", .leaves_out = "0-d"}},
      {"col2im.strided", CALL(op::col2im(x[0], {4, 3}, {2, 3}, {1, 1}, {1, 1}, {2, 1})), {.also_takes = "Long Int Byte", .leaves_out = "0-d"}},
      {"convolution", CALL(convolution(x[0], x[1], {}, 1, 0, 1, false, 0, 1))},
      {"convolution.strided", CALL(convolution(x[0], x[1], {}, {2, 1}, {1, 2}, {1, 2}, false, 0, 1)), {.also_takes = "Int Byte"}},
      {"convolution.groups", CALL(convolution(x[0], x[1], {}, 1, 1, 1, false, 0, 2))},
      {"convolution.one_dimension", CALL(convolution(x[0], x[1], {}, 2, 1, 1, false, 0, 1))},
      {"convolution.three_dimensions", CALL(convolution(x[0], x[1], {}, 1, {0, 1, 0}, 1, false, 0, 1))},
      {"convolution_input", CALL(op::convolution_input(x[0], x[1], {2, 2, 5, 5}, {2, 2}, {0, 1}, {1, 1}, 1)), {.also_takes = "Long Int Byte empty", .leaves_out = "0-d"}},
      {"convolution_input.groups", CALL(op::convolution_input(x[0], x[1], {1, 2, 3, 3}, {1, 1}, {0, 0}, {1, 1}, 2)), {.also_takes = "Long Int Byte empty", .leaves_out = "0-d"}},
      {"convolution_weight", CALL(op::convolution_weight(x[0], x[1], {3, 2, 3, 2}, {2, 2}, {0, 1}, {1, 1}, 1)), {.also_takes = "Long Int Byte", .leaves_out = "0-d"}},
      {"convolution_weight.groups", CALL(op::convolution_weight(x[0], x[1], {4, 1, 2, 2}, {1, 1}, {0, 0}, {1, 1}, 2)), {.also_takes = "Long Int Byte", .leaves_out = "0-d"}},
      {"conv2d", CALL(conv2d(x[0], x[1], x[2], 1, 1))},
      {"conv2d.same", CALL(conv2d(x[0], x[1], x[2], 1, "same"))},
      {"conv2d.one_image", CALL(conv2d(x[0], x[1], x[2]))},
      {"conv2d.channels_differ", CALL(conv2d(x[0], x[1]))},
      {"conv2d.too_large", CALL(conv2d(x[0], x[1]))},
      {"conv2d.wrong_bias", CALL(conv2d(x[0], x[1], x[2]))},
      {"max_pool_indices", CALL(op::max_pool_indices(x[0], {2, 2}, {2, 2}, {2, 2}, {0, 0}, {1, 1})), {.also_takes = "Bool", .leaves_out = "0-d"}},
      {"max_pool2d", CALL(max_pool2d(x[0], {2, 3}, {2, 1}, {1, 0})), {.also_takes = "Bool"}},
      {"max_pool2d.with_indices", CALL(max_pool2d_with_indices(x[0], 3, 2, 1, 1, true)), {.also_takes = "Bool"}},
      {"max_pool2d.dilated", CALL(max_pool2d(x[0], 2, 1, 0, {2, 3})), {.also_takes = "Bool"}},
      {"max_pool2d.too_large", CALL(max_pool2d(x[0], 3))},
      {"max_pool2d.padded_too_much", CALL(max_pool2d(x[0], 2, {}, 2))},
      {"avg_pool2d", CALL(avg_pool2d(x[0], 2))},
      {"avg_pool2d.padded", CALL(avg_pool2d(x[0], 3, 2, 1, true))},
      {"avg_pool2d.inside_only", CALL(avg_pool2d(x[0], 3, 2, 1, true, false))},
      {"avg_pool2d.divisor", CALL(avg_pool2d(x[0], 2, {}, 0, false, true, 3))},
      {"batch_norm", CALL(batch_norm(x[0], x[1], x[2], {}, {}, true, 0.1, 1e-5))},
      {"batch_norm.plain", CALL(batch_norm(x[0], {}, {}, {}, {}, true, 0.1, 0.1))},
      {"batch_norm.evaluation", CALL(batch_norm(x[0], x[1], x[2], x[3], x[4], false, 0.1, 1e-5))},
      {"batch_norm.wrong_weight", CALL(batch_norm(x[0], x[1], {}, {}, {}, true, 0.1, 1e-5))},
      {"conv1d", CALL(conv1d(x[0], x[1], x[2], 2, 1, 1, 2))},
      {"conv3d", CALL(conv3d(x[0], x[1], x[2], 1, {0, 1, 0}))},
      {"conv_transpose1d", CALL(conv_transpose1d(x[0], x[1], x[2], 2, 1, 1)), {.also_takes = "Int Byte"}},
      {"conv_transpose2d", CALL(conv_transpose2d(x[0], x[1], x[2], {1, 2}, 0, 0, 2, {2, 1})), {.also_takes = "Int Byte"}},
      {"conv_transpose3d", CALL(conv_transpose3d(x[0], x[1], {}, 1, {1, 0, 0})), {.also_takes = "Int Byte"}},
      {"conv_transpose2d.channels_differ", CALL(conv_transpose2d(x[0], x[1]))},
      {"max_pool1d", CALL(max_pool1d_with_indices(x[0], 3, 2, 1)), {.also_takes = "Bool"}},
      {"max_pool3d", CALL(max_pool3d_with_indices(x[0], {3, 2, 2}, {2, 1, 2}, {1, 0, 1})), {.also_takes = "Bool"}},
      {"avg_pool1d", CALL(avg_pool1d(x[0], 3, 2, 1, true, false))},
      {"avg_pool3d", CALL(avg_pool3d(x[0], {2, 3, 2}, 2, {1, 1, 0}, true, false))},
      {"adaptive_avg_pool1d", CALL(adaptive_avg_pool1d(x[0], 3))},
      {"adaptive_avg_pool2d", CALL(adaptive_avg_pool2d(x[0], {3, 2}))},
      {"adaptive_avg_pool3d", CALL(adaptive_avg_pool3d(x[0], {2, 1, 3}))},
      {"adaptive_max_pool2d", CALL(adaptive_max_pool2d(x[0], {3, 2})), {.also_takes = "Long Int Byte Bool"}},
      {"adaptive_max_pool3d", CALL(adaptive_max_pool3d(x[0], {2, 1, 3})), {.also_takes = "Long Int Byte Bool"}},
      {"group_norm", CALL(group_norm(x[0], 2, x[1], x[2]))},
      {"group_norm.not_divisible", CALL(group_norm(x[0], 3))},
      {"instance_norm", CALL(instance_norm(x[0], x[1], x[2], {}, {}, true, 0.1, 1e-5))},
      {"instance_norm.evaluation", CALL(instance_norm(x[0], {}, {}, x[1], x[2], false, 0.1, 1e-5))},
  };
}

}  // namespace tinytorch::testing
