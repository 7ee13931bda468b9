# TinyTorch for a project that says find_package(Torch): what libtorch's TorchConfig.cmake defines, for its C++ frontend.
# It stands in a folder that CMake does not search by itself, so that it is never taken for an installed libtorch.
include(CMakeFindDependencyMacro)
find_dependency(TinyTorch PATHS "${CMAKE_CURRENT_LIST_DIR}/.." NO_DEFAULT_PATH)
if(NOT TARGET torch)
  add_library(torch INTERFACE IMPORTED)
  target_link_libraries(torch INTERFACE TinyTorch::torch)
endif()
set(TORCH_LIBRARIES torch)
set(TORCH_INCLUDE_DIRS "")
set(TORCH_CXX_FLAGS "")
set(TORCH_FOUND TRUE)
