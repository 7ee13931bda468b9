// Holds the simulated machine to plain arithmetic and to its own cycle counts. Knows no TinyTorch. Returns 1 when something differs.
#include <cmath>
#include <cstdio>
#include <functional>
#include <new>
#include <stdexcept>
#include <vector>

#include "systolic/machine.h"

using namespace systolic;

namespace {
int failures = 0;

void check(bool holds, const char* what) {
  std::printf("%s  %s\n", holds ? "ok    " : "FAILED", what);
  if (!holds) ++failures;
}

// Numbers between -1 and 1 that are the same everywhere.
std::vector<float> numbers(std::size_t count, std::uint32_t seed) {
  std::vector<float> result(count);
  for (float& x : result) {
    seed = seed * 1664525U + 1013904223U;
    x = static_cast<float>(static_cast<double>(seed) / 2147483648.0 - 1);
  }
  return result;
}

// Every size of the array's edge cases: the product, bit for bit what adding up in order of k gives, and the cycles.
void check_array() {
  bool product = true, cycles = true;
  for (const int M : {0, 1, 2, 16, 17, 64, 200}) {
    for (const int K : {1, 3, 15, 16}) {
      for (const int N : {1, 5, 16}) {
        const std::vector<float> a = numbers(static_cast<std::size_t>(M * K), 1), w = numbers(static_cast<std::size_t>(K * N), 2);
        std::vector<float> out(static_cast<std::size_t>(M * N));
        SystolicArray array;
        array.set_weights(w.data(), K, N);
        cycles = cycles && array.multiply(a.data(), M, K, out.data(), N) == SystolicArray::cycles(M);
        for (int m = 0; m < M; ++m) {
          for (int n = 0; n < N; ++n) {
            float sum = 0;
            for (int k = 0; k < K; ++k) sum += a[static_cast<std::size_t>(m * K + k)] * w[static_cast<std::size_t>(k * N + n)];
            product = product && out[static_cast<std::size_t>(m * N + n)] == sum;
          }
        }
      }
    }
  }
  check(product, "the array, stepped cycle by cycle, multiplies as a loop does");
  check(cycles, "and takes M + 2 * 16 - 2 cycles for M rows");
}

// Runs `write` on a fresh machine with `in` at an address, and gives back `count` floats from another.
std::vector<float> run(const std::vector<float>& in, std::size_t count, const std::function<void(Program&, Address, Address)>& write, std::int64_t* cycles = nullptr) {
  Machine machine;
  const Address from = machine.allocate(in.size() * 4), to = machine.allocate(count * 4);
  machine.write(from, in.data(), in.size() * 4);
  const std::int64_t before = machine.cycles();
  Program program("test");
  write(program, from, to);
  machine.submit(std::move(program));
  machine.finish();
  if (cycles != nullptr) *cycles = machine.cycles() - before;
  std::vector<float> out(count);
  machine.read(out.data(), to, count * 4);
  return out;
}

void check_instructions() {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  check(run(x, 6,
            [](Program& p, Address from, Address to) {
              const Tile tile = p.tile(3, 2);
              p.load(tile, {from, Type::F32, 1, 3});  // the transpose of (2, 3)
              p.store({to, Type::F32, 2, 1}, tile);
            }) == std::vector<float>{1, 4, 2, 5, 3, 6},
        "a load with strides transposes");
  check(run(x, 6,
            [](Program& p, Address from, Address to) {
              const Tile row = p.tile(2, 3), rows = p.tile(2, 3);
              p.load(row, {from, Type::F32, 0, 1});  // the first row, twice
              p.load(rows, {from, Type::F32, 3, 1});
              p.vector(Function::Add, rows, rows, row, 10);
              p.store({to, Type::F32, 3, 1}, rows);
            }) == std::vector<float>{11, 22, 33, 14, 25, 36},
        "a stride of 0 repeats, and Add scales its second operand");
  check(run(x, 4,
            [](Program& p, Address from, Address to) {
              const Tile a = p.tile(2, 3), sum = p.tile(2, 1), most = p.tile(2, 1);
              p.load(a, {from, Type::F32, 3, 1});
              p.reduce(Function::Sum, sum, a);
              p.reduce(Function::Max, most, a);
              p.store({to, Type::F32, 1, 1}, sum);
              p.store({to + 8, Type::F32, 1, 1}, most);
            }) == std::vector<float>{6, 15, 3, 6},
        "sums and maxima of rows");
}

// A program that needs its units one after the other takes the sum of their times; one that does not takes less.
void check_time() {
  const std::vector<float> x = numbers(16 * 16 * 8, 3);
  const std::int64_t load = kMemoryLatency + 16 * 16 * 4 / kMemoryBytesPerCycle;
  const auto multiply = [](Program& p, Address from, Address to, int tiles, bool two_buffers) {
    const Tile w = p.tile(16, 16), a = p.tile(16, 16), b = p.tile(16, 16), sum = p.tile(16, 16);
    p.load(w, {from, Type::F32, 16, 1});
    p.weights(w);
    for (int i = 0; i < tiles; ++i) {
      const Tile& here = two_buffers && i % 2 == 1 ? b : a;
      p.load(here, {from + static_cast<Address>(i % 8) * 1024, Type::F32, 16, 1});
      p.matmul(sum, here, i > 0);
    }
    p.store({to, Type::F32, 16, 1}, sum);
  };
  std::int64_t one = 0, apart = 0, beside = 0;
  run(x, 256, [&](Program& p, Address f, Address t) { multiply(p, f, t, 1, false); }, &one);
  // The second load runs beside the weights' way into the array.
  check(one == load + load + SystolicArray::cycles(16) + load, "one product: two loads, the array, a store");
  const std::vector<float> r1 = run(x, 256, [&](Program& p, Address f, Address t) { multiply(p, f, t, 8, false); }, &apart);
  const std::vector<float> r2 = run(x, 256, [&](Program& p, Address f, Address t) { multiply(p, f, t, 8, true); }, &beside);
  check(apart == load + 8 * (load + SystolicArray::cycles(16)) + load, "one buffer: load and array take turns");
  check(beside == load + load + 8 * SystolicArray::cycles(16) + load, "two buffers: the array never waits");
  check(r1 == r2, "and both give the same");
}

void check_memory() {
  Machine machine;
  const std::size_t all = machine.free_bytes();
  const Address a = machine.allocate(100), b = machine.allocate(64), c = machine.allocate(1);
  check(b - a == 128 && c - b == 64 && all - machine.free_bytes() == 256, "memory comes in multiples of 64 bytes");
  machine.free(b, 64);
  check(machine.allocate(64) == b, "what is freed is given out again");
  machine.free(a, 100);
  machine.free(c, 1);
  machine.free(b, 64);
  check(machine.free_bytes() == all && machine.allocate(all) == a, "neighbouring holes become one");
  bool full = false, beyond = false, no_room = false;
  try {
    machine.allocate(1);
  } catch (const std::bad_alloc&) {
    full = true;
  }
  float x = 0;
  try {
    machine.read(&x, kMemoryBytes, 4);
  } catch (const std::out_of_range&) {
    beyond = true;
  }
  try {
    Program("too much").tile(kScratchFloats, 2);
  } catch (const std::length_error&) {
    no_room = true;
  }
  check(full && beyond && no_room, "full memory, an address beyond it and a full scratchpad are errors");
}
}  // namespace

int main() {
  check_array();
  check_instructions();
  check_time();
  check_memory();
  return failures == 0 ? 0 : 1;
}
