// The operators of TinyTorch as programs of the machine.
#pragma once

namespace systolic {

void register_kernels();

}  // namespace systolic
