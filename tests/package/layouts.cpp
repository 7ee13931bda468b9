// How every row treats memory: inputs that are not contiguous, views, writes.
#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

constexpr double between = 77;  // what stands between the elements of a spread tensor

// The values of x as every second element of a larger tensor, behind an offset.
Tensor spread(const Tensor& x) {
  const Tensor large = full({2 * x.numel() + 1}, x.scalar_type() == kBool ? Scalar(true) : Scalar(between), x.options());
  DimVector strides = contiguous_strides(x.sizes());
  for (std::int64_t& stride : strides) stride *= 2;
  const Tensor inside = large.as_strided(x.sizes(), strides, 1);
  inside.copy_(x);
  return inside;
}

// The values of x with the strides of a tensor whose dimensions are reversed.
Tensor reversed_strides(const Tensor& x) {
  std::vector<std::int64_t> back;
  for (std::int64_t dim = x.dim() - 1; dim >= 0; --dim) back.push_back(dim);
  return x.permute(back).contiguous().permute(back);
}

// x's first row in place of every row, as one row in memory.
Tensor stretched(const Tensor& x) { return x.dim() == 0 || x.size(0) < 2 ? x.clone() : x.narrow(0, 0, 1).expand(x.sizes()); }

Inputs laid_out(const Inputs& inputs, Tensor (*layout)(const Tensor&)) {
  Inputs out;
  for (const Tensor& x : inputs) out.push_back(layout(x));
  return out;
}

// Every element of the tensor that spread() made that is not x's own.
bool kept_between(const Tensor& x) {
  const Tensor gaps = x.as_strided(x.numel() + 1, 2, 0);
  return equal(gaps, full_like(gaps, x.scalar_type() == kBool ? Scalar(true) : Scalar(between)));
}

std::string why_not_same(const Results& actual, const Results& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::string complaint = tito::why_not_close(actual[i], expected[i], 1e-12, 1e-13);
    if (!complaint.empty()) return "result " + std::to_string(i) + ": " + complaint;
  }
  return "";
}

}  // namespace

TEST_CASE("operators do not care how their inputs lie in memory") {
  for (const OperatorCase& row : all_cases()) {
    if (!has_values(row) || row.options.needs_contiguous) continue;
    CAPTURE(row.name);
    const Inputs plain = inputs_of(recorded(row.name), "Double");
    manual_seed(7);
    const Results expected = row.call(laid_out(plain, [](const Tensor& x) { return x.clone(); }));
    const Inputs spread_out = laid_out(plain, spread);
    manual_seed(7);
    CHECK_EQ(why_not_same(row.call(spread_out), expected), "");
    for (const Tensor& x : spread_out) CHECK(kept_between(x));
    manual_seed(7);
    CHECK_EQ(why_not_same(row.call(laid_out(plain, reversed_strides)), expected), "");
  }
}

TEST_CASE("operators do not care whether all rows of an input are one row, of stride 0") {
  std::size_t compared = 0;
  for (const OperatorCase& row : all_cases()) {
    if (!has_values(row) || row.options.needs_contiguous) continue;
    CAPTURE(row.name);
    Inputs one_row = laid_out(inputs_of(recorded(row.name), "Double"), stretched);
    const Inputs rows = laid_out(one_row, [](const Tensor& x) { return x.contiguous().clone(); });
    if (row.in_place()) one_row[0] = rows[0].clone();  // what is written may not be stretched
    Results expected;
    try {
      manual_seed(7);
      expected = row.call(rows);
    } catch (const Error&) {
      continue;  // such values are refused: a singular matrix, say
    }
    ++compared;
    manual_seed(7);
    CHECK_EQ(why_not_same(row.call(one_row), expected), "");
  }
  CHECK(compared > 500);
}

TEST_CASE("results share memory with their inputs where PyTorch's do, and then are tracked views") {
  std::size_t views = 0;
  for (const OperatorCase& row : all_cases()) {
    if (!has_values(row)) continue;
    CAPTURE(row.name);
    const Inputs inputs = inputs_of(recorded(row.name), "Double");
    manual_seed(7);
    const Results results = row.call(inputs);
    for (std::size_t i = 0; i < results.size(); ++i) {
      bool shares = false;
      for (const Tensor& x : inputs) {
        if (x.numel() == 0 || !results[i].is_alias_of(x)) continue;
        shares = true;
        if (results[i].is_same(x)) continue;
        ++views;
        CHECK(results[i].is_view());
        CHECK(results[i]._base().is_same(x));
        const std::int64_t version = x._version();
        results[i].zero_();
        CHECK_EQ(x._version(), version + 1);
      }
      CHECK_EQ(shares, recorded(row.name).shares[i]);
    }
  }
  CHECK(views > 30);
}

TEST_CASE("operators in place return and count their first input, and no operator changes another") {
  std::size_t in_place = 0;
  for (const OperatorCase& row : all_cases()) {
    if (!has_values(row)) continue;
    CAPTURE(row.name);
    const Inputs inputs = inputs_of(recorded(row.name), "Double");
    const Inputs before = laid_out(inputs, [](const Tensor& x) { return x.clone(); });
    std::vector<std::int64_t> versions;
    for (const Tensor& x : inputs) versions.push_back(x._version());
    manual_seed(7);
    const Results results = row.call(inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool written = row.in_place() && i == 0;
      if (written) {
        ++in_place;
        CHECK(results[0].is_same(inputs[0]));
        CHECK(inputs[0]._version() > versions[0]);
      } else {
        CHECK_EQ(inputs[i]._version(), versions[i]);
        CHECK_EQ(inputs[i], before[i]);
      }
    }
  }
  CHECK(in_place > 30);
}

TEST_CASE("a leaf that requires gradients refuses writes, by every operator in place") {
  for (const OperatorCase& row : all_cases()) {
    if (!has_values(row) || !row.in_place()) continue;
    CAPTURE(row.name);
    Inputs inputs = inputs_of(recorded(row.name), "Double");
    if (!inputs[0].is_floating_point()) continue;
    inputs[0].requires_grad_();
    CHECK_ERROR(row.call(inputs), "a leaf Variable that requires grad is being used in an in-place operation");
  }
}

}  // namespace tinytorch::testing
