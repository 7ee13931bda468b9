// Joins what the lessons register, in their order.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.

namespace tinytorch {

void register_device_copies();  // 84_devices
void register_view_gradients();  // 64_gradient_table
void register_basic_gradients();  // 64_gradient_table
void register_copy_gradients();  // 64_gradient_table
void register_reduction_gradients();  // 64_gradient_table
void register_activation_gradients();  // 64_gradient_table
void register_devices();  // 66_backends
void register_inplace_or_view();  // 95_gradients
void register_elementary_gradients();  // 95_gradients
void register_two_operand_gradients();  // 95_gradients
void register_more_reduction_gradients();  // 95_gradients
void register_indexing_gradients();  // 95_gradients
void register_random_gradients();  // 95_gradients
void register_more_activation_gradients();  // 95_gradients
void register_loss_gradients();  // 95_gradients
void register_parameters();  // 95_gradients
void register_padding();  // 97_nn_extras
void register_several_views();  // 99_autograd_extras
void register_half_precision();  // 83_half_precision
void register_archive_access();  // 08_training
void register_pytorch_files();  // 53_weights
void register_special_half_precision();  // 74_tensor_breadth
void register_choosing();  // 74_tensor_breadth
void register_half_images();  // 78_conv_more
void register_resampling_in_float();  // 69_resizing
void register_half_rms_norm();  // 86_transformer_layers
void kernels_join_birth_layers();  // 16_kernels
void register_tuned_products();  // 16_kernels
void register_block_tuning();  // 61_block_tuning
void register_product_ways();  // 62_product_ways
void register_fused_products();  // 62_product_ways
void register_half_products();  // 65_half_kernels
void register_half_transformer();  // 65_half_kernels
void register_tuned_convolution();  // 75_convolution_kernels
void register_copy_kernels();  // 50_copy_kernels
void register_elementwise_kernels();  // 76_vector_math
void register_random_kernels();  // 51_random_kernels
void register_tuned_pooling();  // 55_pooling_kernels
void register_tuned_means();  // 55_pooling_kernels
void register_tuned_reductions();  // 77_row_kernels
void register_tuned_softmax();  // 77_row_kernels
void register_tuned_attention();  // 71_attention_kernels
void register_tuned_functions();  // 79_function_kernels
void register_tuned_distances();  // 52_order_kernels
void register_tuned_ordering();  // 52_order_kernels
void register_integer_arithmetic();  // 80_data_kernels
void register_integer_reductions();  // 80_data_kernels
void register_tuned_places();  // 80_data_kernels
void register_tuned_padding();  // 80_data_kernels
void register_half_elementwise();  // 80_data_kernels
void register_tuned_resampling();  // 85_resampling_kernels
void register_tuned_picking();  // 85_resampling_kernels
void register_tuned_reading();  // 85_resampling_kernels
void register_tuned_normalization();  // 87_norm_kernels
void register_tuned_slopes();  // 89_training_kernels
void register_tuned_positions();  // 89_training_kernels
void register_tuned_recurrent();  // 89_training_kernels
void register_fused_optimizers();  // 89_training_kernels
void register_tuned_table_rows();  // 89_training_kernels
void register_all();

void register_all() {
  register_device_copies();
  register_view_gradients();
  register_basic_gradients();
  register_copy_gradients();
  register_reduction_gradients();
  register_activation_gradients();
  register_devices();
  register_inplace_or_view();
  register_elementary_gradients();
  register_two_operand_gradients();
  register_more_reduction_gradients();
  register_indexing_gradients();
  register_random_gradients();
  register_more_activation_gradients();
  register_loss_gradients();
  register_parameters();
  register_padding();
  register_several_views();
  register_half_precision();
  register_archive_access();
  register_pytorch_files();
  register_special_half_precision();
  register_choosing();
  register_half_images();
  register_resampling_in_float();
  register_half_rms_norm();
  kernels_join_birth_layers();
  register_tuned_products();
  register_block_tuning();
  register_product_ways();
  register_fused_products();
  register_half_products();
  register_half_transformer();
  register_tuned_convolution();
  register_copy_kernels();
  register_elementwise_kernels();
  register_random_kernels();
  register_tuned_pooling();
  register_tuned_means();
  register_tuned_reductions();
  register_tuned_softmax();
  register_tuned_attention();
  register_tuned_functions();
  register_tuned_distances();
  register_tuned_ordering();
  register_integer_arithmetic();
  register_integer_reductions();
  register_tuned_places();
  register_tuned_padding();
  register_half_elementwise();
  register_tuned_resampling();
  register_tuned_picking();
  register_tuned_reading();
  register_tuned_normalization();
  register_tuned_slopes();
  register_tuned_positions();
  register_tuned_recurrent();
  register_fused_optimizers();
  register_tuned_table_rows();
}

}  // namespace tinytorch
