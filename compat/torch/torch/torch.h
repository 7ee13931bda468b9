// All of TinyTorch under libtorch's name.
#pragma once

// What libtorch's header includes of the standard library and TinyTorch's does not: programs count on it, knowing or not.
#include <algorithm>
#include <bitset>
#include <cassert>
#include <chrono>
#include <cmath>
#include <complex>
#include <condition_variable>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <list>
#include <locale>
#include <numeric>
#include <queue>
#include <ranges>
#include <sstream>
#include <stack>
#include <thread>
#include <typeindex>
#include <unordered_set>

#include <tinytorch/tinytorch.h>

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <torch/detail/names.h>
#include <torch/version.h>
