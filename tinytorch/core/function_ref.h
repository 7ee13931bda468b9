// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace tinytorch {

template <class Signature>
class function_ref;

// A function by address: not owned, so it must outlive every call; a lambda written in the argument of a call does. Source: c10/util/FunctionRef.h.
template <class Result, class... Params>
class function_ref<Result(Params...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, function_ref> && std::is_invocable_r_v<Result, F&, Params...>)
  function_ref(F&& f)
      : function_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* function, Params... params) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(function))(std::forward<Params>(params)...);
        }) {}

  Result operator()(Params... params) const { return call_(function_, std::forward<Params>(params)...); }

 private:
  void* function_;
  Result (*call_)(void*, Params...);
};

}  // namespace tinytorch
