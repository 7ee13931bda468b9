#pragma once

#include <ATen/Dispatch.h>
#include <torch/torch.h>
