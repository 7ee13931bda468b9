// The simulated machine as a device of TinyTorch: torch's name for such a thing is PrivateUse1, ours is "systolic".
//
//     systolic::join();                                  // once
//     const Tensor x = images.to("systolic");            // a copy over the link
//     net->to(Device("systolic"));
//     (net->forward(x)).cpu();                           // another copy, back
#pragma once

#include <map>
#include <string>

#include "systolic/machine.h"

namespace systolic {

// Registers the device, its kernels, and the operators that the CPU computes for it. May be called again.
void join();

// The machine behind the device.
Machine& machine();

// How often the CPU computed an operator for the device, by its name, since reset_fallbacks().
std::map<std::string, int> fallbacks();
void reset_fallbacks();

}  // namespace systolic
