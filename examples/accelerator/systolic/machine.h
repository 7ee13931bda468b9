// A simulated accelerator: its own memory, a scratchpad, a DMA engine, a systolic array that multiplies matrices, and a vector unit. Knows no TinyTorch.
//
//     host --- link --- memory (16 MiB) --- DMA --- scratchpad (256 KiB) --- weights --> array of 16 x 16 multipliers
//                                                        |   ^------------ sums --------------'
//                                                        '--- vector unit, 16 lanes
//
// A program is a list of instructions. It is put into a queue and runs when the host waits for a result. Each unit takes its instructions in order; an instruction waits for the unit, for the scratchpad it reads to be
// written, and for the scratchpad it writes to be read. So the DMA engine loads the next tile while the array works on this one, and cycles are counted as a machine without surprises would need them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace systolic {

inline constexpr int kArray = 16;                            // rows and columns of multipliers
inline constexpr int kLanes = 16;                            // numbers that the vector unit computes in a cycle
inline constexpr std::size_t kMemoryBytes = 16U << 20;
inline constexpr int kScratchFloats = 64 << 10;
inline constexpr int kBankFloats = 256;                      // what the scoreboard watches as one
inline constexpr std::int64_t kMemoryLatency = 20;           // cycles before the first byte arrives
inline constexpr std::int64_t kMemoryBytesPerCycle = 64;
inline constexpr std::int64_t kLinkLatency = 200;            // between host and memory
inline constexpr std::int64_t kLinkBytesPerCycle = 16;

using Address = std::uint64_t;  // of a byte in the machine's memory; 0 is nothing

// How numbers lie in memory. In the scratchpad all are float32.
enum class Type : std::uint8_t { F32, I64, U8 };
constexpr std::int64_t size_of(Type type) { return type == Type::F32 ? 4 : type == Type::I64 ? 8 : 1; }

// Rows of numbers in memory; strides in elements, 0 repeats.
struct Region {
  Address address = 0;
  Type type = Type::F32;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};

// Rows of numbers in the scratchpad, densely, one row behind the other.
struct Tile {
  int offset = 0;
  int rows = 0;
  int columns = 0;
  int count() const { return rows * columns; }
};

enum class Opcode : std::uint8_t { Load, Store, Weights, MatMul, Vector, Reduce, Pick };
enum class Function : std::uint8_t { Copy, Fill, Add, Subtract, Multiply, Divide, Maximum, LessEqual, Equal, Select, Exp, Log, Relu, Sum, Max };

// One instruction. Which fields count depends on the opcode:
//   Load      a := region                       (a's rows and columns)
//   Store     region := a
//   Weights   the array's next weights := a     (at most 16 x 16; the rest of the array gets zeros)
//   MatMul    out := a x weights, or out += with `accumulate`. The array takes the weights that were loaded last.
//   Vector    out := function(a, b, c), element by element. With `scalar`, `value` stands in place of b; with `row_scalar`, b has one number for each row.
//             Add computes a + value2 * b.
//   Reduce    out := Sum or Max of each row of a (out has one column)
//   Pick      out[r] := a[r][b[r]]
struct Instruction {
  Opcode opcode;
  Function function = Function::Copy;
  Tile out{}, a{}, b{}, c{};
  Region region{};
  float value = 0;
  float value2 = 1;
  bool scalar = false;
  bool row_scalar = false;
  bool accumulate = false;
};

// What was done for one operator.
struct Usage {
  std::int64_t programs = 0;
  std::int64_t cycles = 0;           // by which the end of all work moved on
  std::int64_t matrix_busy = 0;      // cycles of each unit
  std::int64_t vector_busy = 0;
  std::int64_t memory_busy = 0;
  std::int64_t multiply_adds = 0;    // useful ones
  std::int64_t memory_bytes = 0;
  std::int64_t link_bytes = 0;
  // The share of the array's multipliers that did something useful, of 1.
  double utilisation() const { return cycles == 0 ? 0 : static_cast<double>(multiply_adds) / (static_cast<double>(cycles) * kArray * kArray); }
};

// The array of multipliers, one clock cycle at a time. Each holds a weight. Numbers of `a` enter from the left, row k of the array k cycles later than the first, and move right; sums move down and leave at the bottom.
class SystolicArray {
 public:
  void set_weights(const float* weights, int rows, int columns);  // what they do not fill becomes 0
  // out (M, columns) = a (M, depth) x weights. Returns the cycles it took. REQUIRES: depth, columns <= kArray.
  std::int64_t multiply(const float* a, int M, int depth, float* out, int columns);
  // What multiply() takes: M rows enter one after the other, and the last number crosses all columns and rows.
  static constexpr std::int64_t cycles(std::int64_t M) { return M == 0 ? 0 : M + 2 * kArray - 2; }

 private:
  using Grid = std::array<std::array<float, kArray>, kArray>;
  void step(const std::array<float, kArray>& entering);

  Grid weights_{};
  Grid moving_right_{};  // what each multiplier got from the left in the cycle before
  Grid moving_down_{};   // the sum that each passed down
};

// A list of instructions with a scratchpad of its own.
class Program {
 public:
  explicit Program(const char* name) : name_(name) {}
  // Room in the scratchpad, which nobody else in this program has. Throws std::length_error when it is full.
  Tile tile(std::int64_t rows, std::int64_t columns);
  void push(const Instruction& instruction) { instructions_.push_back(instruction); }

  void load(const Tile& to, const Region& from) { push({.opcode = Opcode::Load, .a = to, .region = from}); }
  void store(const Region& to, const Tile& from) { push({.opcode = Opcode::Store, .a = from, .region = to}); }
  void weights(const Tile& from) { push({.opcode = Opcode::Weights, .a = from}); }
  void matmul(const Tile& out, const Tile& a, bool accumulate) { push({.opcode = Opcode::MatMul, .out = out, .a = a, .accumulate = accumulate}); }
  void vector(Function function, const Tile& out, const Tile& a, const Tile& b, float scale = 1) { push({.opcode = Opcode::Vector, .function = function, .out = out, .a = a, .b = b, .value2 = scale}); }
  void vector(Function function, const Tile& out, const Tile& a, float value = 0) { push({.opcode = Opcode::Vector, .function = function, .out = out, .a = a, .value = value, .scalar = true}); }
  void by_row(Function function, const Tile& out, const Tile& a, const Tile& b) { push({.opcode = Opcode::Vector, .function = function, .out = out, .a = a, .b = b, .row_scalar = true}); }
  void select(const Tile& out, const Tile& condition, const Tile& yes, const Tile& no) { push({.opcode = Opcode::Vector, .function = Function::Select, .out = out, .a = condition, .b = yes, .c = no}); }
  void reduce(Function function, const Tile& out, const Tile& a) { push({.opcode = Opcode::Reduce, .function = function, .out = out, .a = a}); }
  void pick(const Tile& out, const Tile& a, const Tile& index) { push({.opcode = Opcode::Pick, .out = out, .a = a, .b = index}); }

  const char* name() const { return name_; }
  const std::vector<Instruction>& instructions() const { return instructions_; }

 private:
  const char* name_;
  std::vector<Instruction> instructions_;
  int used_ = 0;
};

// The whole machine. Several threads may use one.
class Machine {
 public:
  Machine();

  // Memory, in multiples of 64 bytes. Throws std::bad_alloc. What is freed may still be read by programs in the queue: what is put there later runs later.
  Address allocate(std::size_t nbytes);
  void free(Address address, std::size_t nbytes);
  std::size_t free_bytes() const;

  // Puts a program into the queue.
  void submit(Program program);
  // Runs everything in the queue.
  void finish();
  // Copies over the link; both finish() first.
  void write(Address to, const void* from, std::size_t nbytes);
  void read(void* to, Address from, std::size_t nbytes);

  std::int64_t cycles() const;                   // until everything that ran was done
  std::map<std::string, Usage> usage() const;    // by program name; "host to device" and "device to host" are the copies
  void reset_usage();

 private:
  enum Unit : std::uint8_t { Matrix, Vector, Memory, WeightPort, kUnits };
  void run_queue();
  void run(const Instruction& instruction, Usage& usage);
  void execute(const Instruction& instruction);
  std::int64_t duration(const Instruction& instruction) const;
  void copy_between(const Instruction& instruction, bool load);
  void compute(const Instruction& instruction);
  void over_link(const char* name, std::size_t nbytes);
  float* at(const Tile& tile) { return scratch_.data() + tile.offset; }
  void check(Address address, std::size_t nbytes) const;

  mutable std::mutex mutex_;
  std::vector<std::byte> memory_;
  std::map<Address, std::size_t> holes_;   // free memory, by address
  std::vector<Program> queue_;
  std::vector<float> scratch_;
  SystolicArray array_;
  std::int64_t now_ = 0;                          // the end of all work so far
  std::array<std::int64_t, kUnits> unit_free_{};  // when each unit has done what it was given
  std::vector<std::int64_t> written_, read_;      // when each bank was last written and read
  std::int64_t weights_ready_ = 0;                // when the next weights are in
  std::int64_t weights_taken_ = 0;                // when the array took those before
  std::map<std::string, Usage> usage_;
};

}  // namespace systolic
