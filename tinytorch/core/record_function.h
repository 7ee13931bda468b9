// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tinytorch {

struct TensorImpl;
enum class Layer : std::uint8_t;
class RecordFunction;

// What is being recorded: an operator, a node of a backward pass, a part that the user named, the forward pass of a module.
enum class RecordScope : std::uint8_t { FUNCTION, BACKWARD_FUNCTION, USER_SCOPE, MODULE };

// Sees what the program does while it is installed. Calls come from all threads at once.
class RecordObserver {
 public:
  virtual void begin(RecordFunction& call) = 0;
  virtual void end(RecordFunction& call) noexcept = 0;
  // Tensors took `change` bytes, or gave them back (below 0); `live` bytes are held now.
  virtual void memory(std::ptrdiff_t change, std::size_t live) noexcept = 0;
  // The call that this thread is in recorded a node for the backward pass.
  virtual void node(std::uint64_t sequence_nr) noexcept = 0;

 protected:
  ~RecordObserver() = default;
};
inline constinit std::atomic<RecordObserver*> record_observer{nullptr};

// A call under observation, from before() to end(), or to the end of its scope. Does nothing without an observer.
//
//     RecordFunction record(RecordScope::USER_SCOPE);
//     record.before("load batch");
//
// Source: aten/src/ATen/record_function.h.
class RecordFunction {
 public:
  explicit RecordFunction(RecordScope scope) : observer_(record_observer.load()), scope_(scope) {}
  ~RecordFunction() { end(); }
  RecordFunction(const RecordFunction&) = delete;
  RecordFunction& operator=(const RecordFunction&) = delete;

  bool isActive() const { return observer_ != nullptr; }
  // Begins the call. What calls of one operator or module have in common is `source`; a name that comes with a source must be there for ever.
  void before(std::string_view name, std::int64_t sequence_nr = -1, const void* source = nullptr, Layer layer = {});
  void end();

  RecordScope scope() const { return scope_; }
  std::string_view name() const { return name_; }
  const void* source() const { return source_; }
  Layer layer() const { return layer_; }
  std::int64_t sequence_nr() const { return sequence_nr_; }  // of a BACKWARD_FUNCTION; -1 for others

  // The tensors of the call: those noted before before() are its inputs, later ones its outputs. They live as long as the call.
  void add_tensor(const TensorImpl& tensor);
  std::size_t input_count() const { return inputs_; }
  std::size_t tensor_count() const { return tensors_; }
  const TensorImpl& tensor(std::size_t index) const { return index < few_.size() ? *few_[index] : *more_[index - few_.size()]; }

  // Two numbers in which the observer may remember where it keeps this call.
  std::array<std::uint64_t, 2> place{};

 private:
  RecordObserver* observer_;
  RecordScope scope_;
  bool begun_ = false;
  Layer layer_{};
  std::string_view name_;
  const void* source_ = nullptr;
  std::int64_t sequence_nr_ = -1;
  std::size_t inputs_ = 0;
  std::size_t tensors_ = 0;
  std::array<const TensorImpl*, 8> few_;
  std::vector<const TensorImpl*> more_;
};

inline void RecordFunction::before(std::string_view name, std::int64_t sequence_nr, const void* source, Layer layer) {
  if (!isActive() || begun_) return;
  name_ = name;
  sequence_nr_ = sequence_nr;
  source_ = source;
  layer_ = layer;
  inputs_ = tensors_;
  begun_ = true;
  observer_->begin(*this);
}

inline void RecordFunction::end() {
  if (!begun_) return;
  begun_ = false;
  observer_->end(*this);
}

inline void RecordFunction::add_tensor(const TensorImpl& tensor) {
  if (tensors_ < few_.size()) {
    few_[tensors_] = &tensor;
  } else {
    more_.push_back(&tensor);
  }
  ++tensors_;
}

}  // namespace tinytorch
