#include "systolic/machine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>

namespace systolic {

// ---- The array.

void SystolicArray::set_weights(const float* weights, int rows, int columns) {
  weights_ = {};
  for (int k = 0; k < rows; ++k)
    for (int n = 0; n < columns; ++n) weights_[k][n] = weights[k * columns + n];
}

// One cycle: every multiplier takes what its left and its upper neighbour gave in the cycle before. From the last to the first, so that those values are still there.
void SystolicArray::step(const std::array<float, kArray>& entering) {
  for (int k = kArray - 1; k >= 0; --k) {
    for (int n = kArray - 1; n >= 0; --n) {
      const float from_left = n == 0 ? entering[k] : moving_right_[k][n - 1];
      const float from_above = k == 0 ? 0 : moving_down_[k - 1][n];
      moving_right_[k][n] = from_left;
      moving_down_[k][n] = from_above + from_left * weights_[k][n];
    }
  }
}

std::int64_t SystolicArray::multiply(const float* a, int M, int depth, float* out, int columns) {
  moving_right_ = {};
  moving_down_ = {};
  std::int64_t clock = 0;
  for (int left = 0; M > 0 && left < M * columns; ++clock) {
    // Row k of the array is k cycles late: then a[m][k] meets the sum of a[m][0..k-1] that comes from above.
    std::array<float, kArray> entering{};
    for (int k = 0; k < depth; ++k) {
      const std::int64_t m = clock - k;
      if (m >= 0 && m < M) entering[k] = a[m * depth + k];
    }
    step(entering);
    // Column n leaves n cycles late, after all rows of the array.
    for (int n = 0; n < columns; ++n) {
      const std::int64_t m = clock - (kArray - 1) - n;
      if (m < 0 || m >= M) continue;
      out[m * columns + n] = moving_down_[kArray - 1][n];
      ++left;
    }
  }
  // The columns that nobody asked for are empty, but the array is not free before they are through.
  return M == 0 ? 0 : clock + kArray - columns;
}

// ---- Programs.

Tile Program::tile(std::int64_t rows, std::int64_t columns) {
  const std::int64_t banks = (rows * columns + kBankFloats - 1) / kBankFloats;
  if (used_ + banks * kBankFloats > kScratchFloats) throw std::length_error(std::string("the scratchpad is full: program ") + name_);
  const Tile tile{used_, static_cast<int>(rows), static_cast<int>(columns)};
  used_ += static_cast<int>(banks) * kBankFloats;
  return tile;
}

// ---- Memory.

namespace {
constexpr std::size_t kAlignment = 64;
std::size_t rounded(std::size_t nbytes) { return (nbytes + kAlignment - 1) / kAlignment * kAlignment; }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
}  // namespace

Machine::Machine()
    : memory_(kMemoryBytes), holes_{{kAlignment, kMemoryBytes - kAlignment}}, scratch_(kScratchFloats), written_(kScratchFloats / kBankFloats), read_(kScratchFloats / kBankFloats) {}

Address Machine::allocate(std::size_t nbytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t wanted = rounded(nbytes);
  for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
    if (hole->second < wanted) continue;
    const Address address = hole->first;
    const std::size_t left = hole->second - wanted;
    holes_.erase(hole);
    if (left > 0) holes_.emplace(address + wanted, left);
    return address;
  }
  throw std::bad_alloc();
}

void Machine::free(Address address, std::size_t nbytes) {
  const std::lock_guard lock(mutex_);
  auto hole = holes_.emplace(address, rounded(nbytes)).first;
  // Neighbours become one hole.
  if (const auto next = std::next(hole); next != holes_.end() && hole->first + hole->second == next->first) {
    hole->second += next->second;
    holes_.erase(next);
  }
  if (hole == holes_.begin()) return;
  const auto before = std::prev(hole);
  if (before->first + before->second != hole->first) return;
  before->second += hole->second;
  holes_.erase(hole);
}

std::size_t Machine::free_bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t total = 0;
  for (const auto& [address, size] : holes_) total += size;
  return total;
}

void Machine::check(Address address, std::size_t nbytes) const {
  if (address < kAlignment || address > kMemoryBytes || nbytes > kMemoryBytes - address)
    throw std::out_of_range("the machine was told to reach " + std::to_string(nbytes) + " bytes at address " + std::to_string(address) + ", beyond its memory");
}

// ---- The queue.

void Machine::submit(Program program) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(program));
}

void Machine::finish() {
  const std::lock_guard lock(mutex_);
  run_queue();
}

void Machine::run_queue() {
  for (const Program& program : queue_) {
    Usage& usage = usage_[program.name()];
    ++usage.programs;
    const std::int64_t before = now_;
    for (const Instruction& instruction : program.instructions()) run(instruction, usage);
    usage.cycles += now_ - before;
  }
  queue_.clear();
}

void Machine::over_link(const char* name, std::size_t nbytes) {
  Usage& usage = usage_[name];
  const std::int64_t taken = kLinkLatency + ceil_div(static_cast<std::int64_t>(nbytes), kLinkBytesPerCycle);
  ++usage.programs;
  usage.cycles += taken;
  usage.link_bytes += static_cast<std::int64_t>(nbytes);
  now_ += taken;
  unit_free_.fill(now_);  // nothing runs beside a copy that the host waits for
}

void Machine::write(Address to, const void* from, std::size_t nbytes) {
  const std::lock_guard lock(mutex_);
  run_queue();
  check(to, nbytes);
  std::memcpy(memory_.data() + to, from, nbytes);
  over_link("host to device", nbytes);
}

void Machine::read(void* to, Address from, std::size_t nbytes) {
  const std::lock_guard lock(mutex_);
  run_queue();
  check(from, nbytes);
  std::memcpy(to, memory_.data() + from, nbytes);
  over_link("device to host", nbytes);
}

std::int64_t Machine::cycles() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

std::map<std::string, Usage> Machine::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

void Machine::reset_usage() {
  const std::lock_guard lock(mutex_);
  run_queue();
  usage_.clear();
}

// ---- Time. What an instruction waits for, and how long it takes.

void Machine::run(const Instruction& instruction, Usage& usage) {
  const Opcode opcode = instruction.opcode;
  const Unit unit = opcode == Opcode::Load || opcode == Opcode::Store ? Memory : opcode == Opcode::Weights ? WeightPort : opcode == Opcode::MatMul ? Matrix : Vector;
  std::int64_t start = unit_free_[unit];
  const auto banks = [](const Tile& tile, auto f) {
    if (tile.count() == 0) return;
    for (int bank = tile.offset / kBankFloats; bank <= (tile.offset + tile.count() - 1) / kBankFloats; ++bank) f(static_cast<std::size_t>(bank));
  };
  // What it reads must be written; what it writes must be read and written by those before.
  const Tile* const written = opcode == Opcode::Load ? &instruction.a : opcode == Opcode::Store || opcode == Opcode::Weights ? nullptr : &instruction.out;
  const std::array<const Tile*, 3> read{opcode == Opcode::Load ? nullptr : &instruction.a, instruction.scalar ? nullptr : &instruction.b, &instruction.c};
  for (const Tile* tile : read)
    if (tile != nullptr) banks(*tile, [&](std::size_t bank) { start = std::max(start, written_[bank]); });
  if (written != nullptr) banks(*written, [&](std::size_t bank) { start = std::max({start, written_[bank], read_[bank]}); });
  // Weights go into a second set of registers while the array still works with the first.
  if (opcode == Opcode::Weights) start = std::max(start, weights_taken_);
  if (opcode == Opcode::MatMul) {
    start = std::max(start, weights_ready_);
    weights_taken_ = start;
  }

  const std::int64_t taken = duration(instruction);
  const std::int64_t end = start + taken;
  unit_free_[unit] = end;
  for (const Tile* tile : read)
    if (tile != nullptr) banks(*tile, [&](std::size_t bank) { read_[bank] = std::max(read_[bank], end); });
  if (written != nullptr) banks(*written, [&](std::size_t bank) { written_[bank] = end; });
  if (opcode == Opcode::Weights) weights_ready_ = end;
  now_ = std::max(now_, end);

  if (unit == Memory) {
    usage.memory_busy += taken;
    usage.memory_bytes += instruction.a.count() * size_of(instruction.region.type);
  } else if (unit == Matrix) {
    usage.matrix_busy += taken;
    usage.multiply_adds += static_cast<std::int64_t>(instruction.a.count()) * instruction.out.columns;
  } else if (unit == Vector) {
    usage.vector_busy += taken;
  }
  execute(instruction);
}

std::int64_t Machine::duration(const Instruction& instruction) const {
  const Tile& a = instruction.a;
  switch (instruction.opcode) {
    case Opcode::Load:
    case Opcode::Store: {
      // Runs of neighbours go at full width, along rows or (the engine transposes) along columns; rows that follow each other are one run. Elements apart from each other take a cycle each, repeated ones nothing.
      const Region& r = instruction.region;
      const std::int64_t size = size_of(r.type);
      const auto runs = [size](std::int64_t count, std::int64_t length) { return count * ceil_div(length * size, kMemoryBytesPerCycle); };
      std::int64_t rows = a.rows, columns = a.columns;
      if (r.row_stride == 0) rows = 1;
      if (r.column_stride == 0) columns = 1;
      if (a.count() == 0) return 0;
      if (rows == 1 && columns == 1) return kMemoryLatency + 1;
      if (r.column_stride == 1 && (rows == 1 || r.row_stride == columns)) return kMemoryLatency + runs(1, rows * columns);
      if (r.column_stride == 1) return kMemoryLatency + runs(rows, columns);
      if (r.row_stride == 1) return kMemoryLatency + runs(columns, rows);
      return kMemoryLatency + rows * columns;
    }
    case Opcode::Weights: return kArray;
    case Opcode::MatMul: return SystolicArray::cycles(a.rows);
    case Opcode::Vector: return 4 + ceil_div(instruction.out.count(), kLanes);
    case Opcode::Reduce: return 4 + a.rows * ceil_div(a.columns, kLanes);
    case Opcode::Pick: return 4 + a.rows;
  }
  return 0;
}

// ---- What instructions do.

void Machine::execute(const Instruction& instruction) {
  switch (instruction.opcode) {
    case Opcode::Load: return copy_between(instruction, true);
    case Opcode::Store: return copy_between(instruction, false);
    case Opcode::Weights: return array_.set_weights(at(instruction.a), instruction.a.rows, instruction.a.columns);
    case Opcode::MatMul: {
      const Tile& a = instruction.a;
      std::vector<float> sums(static_cast<std::size_t>(a.rows) * static_cast<std::size_t>(instruction.out.columns));
      array_.multiply(at(a), a.rows, a.columns, sums.data(), instruction.out.columns);
      float* const out = at(instruction.out);
      for (std::size_t i = 0; i < sums.size(); ++i) out[i] = instruction.accumulate ? out[i] + sums[i] : sums[i];
      return;
    }
    default: return compute(instruction);
  }
}

// Between memory, where a number has its type, and the scratchpad, where it is a float.
void Machine::copy_between(const Instruction& instruction, bool load) {
  const Tile& tile = instruction.a;
  const Region& r = instruction.region;
  if (tile.count() == 0) return;
  const std::int64_t size = size_of(r.type);
  const std::int64_t last = (tile.rows - 1) * r.row_stride + (tile.columns - 1) * r.column_stride;
  check(r.address, static_cast<std::size_t>((last + 1) * size));
  float* scratch = at(tile);
  for (int row = 0; row < tile.rows; ++row) {
    for (int column = 0; column < tile.columns; ++column, ++scratch) {
      std::byte* const place = memory_.data() + r.address + static_cast<std::size_t>((row * r.row_stride + column * r.column_stride) * size);
      const auto move = [&]<class T>(T value) {
        if (load) {
          std::memcpy(&value, place, sizeof value);
          *scratch = static_cast<float>(value);
        } else {
          value = static_cast<T>(*scratch);
          std::memcpy(place, &value, sizeof value);
        }
      };
      if (r.type == Type::F32) move(float{});
      else if (r.type == Type::I64) move(std::int64_t{});
      else move(std::uint8_t{});
    }
  }
}

void Machine::compute(const Instruction& i) {
  float* const out = at(i.out);
  const float* const a = at(i.a);
  const float* const b = at(i.b);
  const float* const c = at(i.c);
  if (i.opcode == Opcode::Pick) {
    for (int r = 0; r < i.a.rows; ++r) {
      const bool inside = b[r] >= 0 && b[r] < static_cast<float>(i.a.columns);
      out[r] = inside ? a[r * i.a.columns + static_cast<int>(b[r])] : NAN;
    }
    return;
  }
  if (i.opcode == Opcode::Reduce) {
    for (int r = 0; r < i.a.rows; ++r) {
      // Each lane folds its numbers, then the lanes are folded in pairs.
      std::array<float, kLanes> lanes;
      lanes.fill(i.function == Function::Sum ? 0.0F : -INFINITY);
      const auto fold = [&](float x, float y) { return i.function == Function::Sum ? x + y : std::max(x, y); };
      for (int n = 0; n < i.a.columns; ++n) lanes[n % kLanes] = fold(lanes[n % kLanes], a[r * i.a.columns + n]);
      for (int width = kLanes / 2; width > 0; width /= 2)
        for (int lane = 0; lane < width; ++lane) lanes[lane] = fold(lanes[lane], lanes[lane + width]);
      out[r] = lanes[0];
    }
    return;
  }
  for (int n = 0; n < i.out.count(); ++n) {
    const float y = i.scalar ? i.value : i.row_scalar ? b[n / i.out.columns] : b[n];
    switch (i.function) {
      case Function::Copy: out[n] = a[n]; break;
      case Function::Fill: out[n] = i.value; break;
      case Function::Add: out[n] = a[n] + i.value2 * y; break;
      case Function::Subtract: out[n] = a[n] - y; break;
      case Function::Multiply: out[n] = a[n] * y; break;
      case Function::Divide: out[n] = a[n] / y; break;
      case Function::Maximum: out[n] = std::max(a[n], y); break;
      case Function::LessEqual: out[n] = a[n] <= y ? 1.0F : 0.0F; break;
      case Function::Equal: out[n] = a[n] == y ? 1.0F : 0.0F; break;
      case Function::Select: out[n] = a[n] != 0 ? y : c[n]; break;
      case Function::Exp: out[n] = std::exp(a[n]); break;
      case Function::Log: out[n] = std::log(a[n]); break;
      case Function::Relu: out[n] = a[n] > 0 ? a[n] : a[n] != a[n] ? a[n] : 0.0F; break;
      case Function::Sum:
      case Function::Max: break;
    }
  }
}

}  // namespace systolic
