// What is written in place, or lies in the room of its owner, must not be seen by others.
#include <memory>
#include <thread>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch::testing {

// The engine adds gradients up where they lie if it alone holds them. `add` hands one tensor to both of its inputs.
TEST_CASE("backward: a gradient that two nodes received is not added into") {
  const Tensor a = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor b = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor h = a * 1.0;
  const Tensor k = b * 1.0;
  const Tensor first = h * 5.0;  // delivers to h after the sum has, since it is the older one
  const Tensor both = (h + k) * 1.0;
  autograd::backward({first, both}, {ones({2}, kDouble), ones({2}, kDouble)});
  CHECK_EQ(a.grad(), tensor({6.0, 6.0}, kDouble));
  CHECK_EQ(b.grad(), tensor({1.0, 1.0}, kDouble));
}

TEST_CASE("backward: the gradients that a program passes in stay as they are") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * 1.0;
  const Tensor z = y * 3.0;
  const Tensor of_y = tensor({10.0, 20.0}, kDouble);
  autograd::backward({y, z}, {of_y, ones({2}, kDouble)});
  CHECK_EQ(x.grad(), tensor({13.0, 23.0}, kDouble));
  CHECK_EQ(of_y, tensor({10.0, 20.0}, kDouble));
}

TEST_CASE("backward: a stretched gradient is not added into, and a recorded sum stays in the graph") {
  const Tensor x = tensor({1.0, 2.0, 3.0}, dtype(kDouble).requires_grad(true));
  const Tensor h = x * 2.0;
  const Tensor squares = h * h;  // delivers to h twice, after the sum's gradient, which has stride 0
  const Tensor loss = squares.sum() + h.sum();
  const Tensor gradient = autograd::grad({loss}, {x}, {}, true, true)[0];
  CHECK_EQ(gradient, tensor({10.0, 18.0, 26.0}, kDouble));  // 8 x + 2
  CHECK_EQ(autograd::grad({gradient.sum()}, {x}, {}, true)[0], tensor({8.0, 8.0, 8.0}, kDouble));
  loss.backward();
  CHECK_EQ(x.grad(), gradient);
}

// A node and the counts of its owners are one block: it must outlive the node for as long as somebody may ask whether the node is there.
TEST_CASE("nodes: a weak pointer outlives its node, and its node's neighbours") {
  std::weak_ptr<Node> last, middle;
  {
    const Tensor x = ones({1}, requires_grad());
    Tensor y = x * 2;
    middle = y.grad_fn();
    for (int i = 0; i < 1000; ++i) y = y * 2;
    last = y.grad_fn();
    CHECK_FALSE(middle.expired());
  }
  CHECK(last.expired());
  CHECK(middle.expired());
  std::vector<Tensor> others;  // take what was freed
  for (int i = 0; i < 2000; ++i) others.push_back(ones({1}, requires_grad()) * 2);
  CHECK(last.lock() == nullptr);
}

TEST_CASE("storage: bytes that lie in the object are counted, aligned, and kept when it grows out of it") {
  const MemoryStats before = memory::stats();
  {
    const Storage storage = make_intrusive<StorageImpl>(8);
    CHECK_EQ(memory::stats().live, before.live + 8);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(storage->data()) % 64, 0);
    static_cast<unsigned char*>(storage->data())[7] = 42;
    for (const std::size_t nbytes : {64, 65, 5000, 512, 64, 8}) {
      storage->resize(nbytes);
      CHECK_EQ(storage->nbytes(), nbytes);
      CHECK_EQ(memory::stats().live, before.live + nbytes);
      CHECK_EQ(reinterpret_cast<std::uintptr_t>(storage->data()) % 64, 0);
      CHECK_EQ(static_cast<unsigned char*>(storage->data())[7], 42);
    }
    storage->resize(0);
    CHECK(storage->data() == nullptr);
  }
  CHECK_EQ(memory::stats().live, before.live);
}

TEST_CASE("small tensors made in one thread may end in another") {
  std::vector<Tensor> tensors;
  for (int i = 0; i < 300; ++i) tensors.push_back(full({2}, i, kDouble));
  double sum = 0;
  std::thread([&] {
    for (const Tensor& one : tensors) sum += one.sum().item<double>();
    tensors.clear();
  }).join();
  CHECK_EQ(sum, 300 * 299);
}

// empty() shows only those tensors to op::created that ask for something; inference mode marks them all.
TEST_CASE("inference mode: every factory's tensor is marked, whatever its options") {
  const InferenceMode guard;
  CHECK(empty({2}).is_inference());
  CHECK(full({2}, 1).is_inference());
  CHECK((ones({2}) + 1).is_inference());
}

}  // namespace tinytorch::testing
