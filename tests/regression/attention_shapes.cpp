// The reshapes between (T, B, C), heads and logits. Wrong ones have the right sizes; what tells them apart is which element depends on which.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

struct Sizes {
  std::int64_t B, T, H, D;
};

// Equal sizes are where a wrong order of dimensions still runs.
const std::vector<Sizes>& all_sizes() {
  static const std::vector<Sizes> sizes = {{2, 2, 2, 2}, {1, 3, 2, 2}, {3, 1, 2, 2}, {2, 3, 1, 4}, {2, 3, 4, 1}, {3, 3, 3, 3}, {2, 5, 3, 2}, {4, 2, 2, 4}};
  return sizes;
}

// Whether the result at position i of sample j is another than before.
bool changed_at(const Tensor& before, const Tensor& after, std::int64_t i, std::int64_t j) { return (before[i][j] - after[i][j]).abs().max().item<double>() > 1e-9; }

}  // namespace

TEST_CASE("heads: every element of (T, B, H * D) goes to its place, and comes back") {
  for (const auto& [B, T, H, D] : all_sizes()) {
    const std::string sizes = str(B, " ", T, " ", H, " ", D);
    CAPTURE(sizes);
    const Tensor x = arange(T * B * H * D, kDouble).view({T, B, H * D});
    for (const Tensor& input : {x, x.transpose(0, 1).contiguous().transpose(0, 1)}) {  // contiguous or not
      const Tensor heads = nn::detail::split_heads(input, H);
      REQUIRE_EQ(heads.sizes(), IntArrayRef({B, H, T, D}));
      bool right = true;
      for (std::int64_t b = 0; b < B; ++b)
        for (std::int64_t h = 0; h < H; ++h)
          for (std::int64_t t = 0; t < T; ++t)
            for (std::int64_t d = 0; d < D; ++d) right = right && heads[b][h][t][d].item<double>() == x[t][b][h * D + d].item<double>();
      CHECK(right);
      CHECK_EQ(nn::detail::merge_heads(heads), x);
      CHECK_EQ(nn::detail::merge_heads(heads.contiguous()), x);
    }
  }
}

TEST_CASE("MultiheadAttention: samples do not see each other, positions do, for every size") {
  const NoGradGuard no_grad;
  for (const auto& [B, T, H, D] : all_sizes()) {
    const std::string sizes = str(B, " ", T, " ", H, " ", D);
    CAPTURE(sizes);
    manual_seed(1);
    nn::MultiheadAttention attention(H * D, H);
    attention->to(kDouble);
    const Tensor x = randn({T, B, H * D}, kDouble);
    const Tensor causal = ones({T, T}, kBool).triu(1);
    for (const bool need_weights : {true, false}) {
      const auto run = [&](const Tensor& input, const Tensor& mask) { return std::get<0>(attention(input, input, input, Tensor(), need_weights, mask)); };
      for (const Tensor& mask : {Tensor(), causal}) {
        const Tensor before = run(x, mask);
        for (std::int64_t t = 0; t < T; ++t) {
          const Tensor changed = x.clone();
          changed[t][B - 1].add_(1.5);
          const Tensor after = run(changed, mask);
          for (std::int64_t i = 0; i < T; ++i) {
            for (std::int64_t b = 0; b + 1 < B; ++b) CHECK(!changed_at(before, after, i, b));
            // A query sees all positions, or those up to its own.
            CHECK_EQ(changed_at(before, after, i, B - 1), !mask.defined() || t <= i);
          }
        }
      }
    }
  }
}

TEST_CASE("MultiheadAttention: masks of one sample or one head hide for that one only") {
  const NoGradGuard no_grad;
  manual_seed(2);
  const std::int64_t B = 2, T = 3, H = 2;
  nn::MultiheadAttention attention(4, H);
  attention->to(kDouble);
  const Tensor x = randn({T, B, 4}, kDouble);
  const Tensor plain = std::get<1>(attention(x, x, x, Tensor(), true, Tensor(), false));
  for (std::int64_t b = 0; b < B; ++b) {
    for (std::int64_t h = 0; h < H; ++h) {
      const Tensor mask = zeros({B * H, T, T}, kBool);
      mask[b * H + h][0][1].fill_(true);  // hides key 1 from query 0 of head h of sample b
      const Tensor weights = std::get<1>(attention(x, x, x, Tensor(), true, mask, false));
      for (std::int64_t b2 = 0; b2 < B; ++b2)
        for (std::int64_t h2 = 0; h2 < H; ++h2) {
          if (b2 == b && h2 == h) {
            CHECK_EQ(weights[b][h][0][1].item<double>(), 0.0);
            CHECK_CLOSE(weights[b][h].sum(-1), ones({T}, kDouble));
          } else {
            CHECK_EQ(weights[b2][h2], plain[b2][h2]);
          }
        }
    }
    const Tensor padding = zeros({B, T}, kBool);
    padding[b][2].fill_(true);
    const Tensor weights = std::get<1>(attention(x, x, x, padding, true, Tensor(), false));
    CHECK_EQ(weights[b].select(-1, 2), zeros({H, T}, kDouble));
    CHECK_EQ(weights[1 - b], plain[1 - b]);
  }
}

TEST_CASE("logits: (B, T, V) and targets (B, T) are flattened in one order") {
  manual_seed(3);
  const std::vector<std::array<std::int64_t, 3>> all = {{2, 2, 2}, {2, 3, 4}, {3, 3, 5}, {1, 4, 2}};
  for (const std::array<std::int64_t, 3>& one : all) {
    const std::int64_t B = one[0], T = one[1], V = one[2];
    const std::string sizes = str(B, " ", T, " ", V);
    CAPTURE(sizes);
    const Tensor logits = randn({B, T, V}, kDouble);
    const Tensor targets = randint(0, V, {B, T});
    double expected = 0;
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t t = 0; t < T; ++t) expected -= log_softmax(logits[b][t], 0)[targets[b][t].item<std::int64_t>()].item<double>() / static_cast<double>(B * T);
    CHECK_CLOSE(cross_entropy_loss(logits.view({B * T, V}), targets.view(-1)).item<double>(), expected, 1e-12, 0.0);
    CHECK_CLOSE(cross_entropy_loss(logits.transpose(1, 2), targets).item<double>(), expected, 1e-12, 0.0);  // (B, V, T): classes second
    // (T, B, V), as sequence-first layers give: the targets must turn with it.
    const Tensor sequence_first = logits.transpose(0, 1);
    CHECK_CLOSE(cross_entropy_loss(sequence_first.reshape({-1, V}), targets.t().reshape(-1)).item<double>(), expected, 1e-12, 0.0);
    if (T > 1 && B > 1) CHECK_ERROR(sequence_first.view({-1, V}), "view size is not compatible with input tensor's size and stride");
  }
  CHECK_ERROR(cross_entropy_loss(randn({2, 3, 4}), randint(0, 3, {2, 3})), "Expected target size");
}

TEST_CASE("GPT: cached logits of prompts of unequal lengths are those of each text alone, however the new tokens come") {
  const NoGradGuard no_grad;
  manual_seed(6);
  models::GPT model(models::GPTOptions(13, 16).n_layer(3).n_head(2).n_embd(8));
  model->to(kDouble);
  for (Tensor& parameter : model->parameters()) parameter.normal_(0, 0.5);
  model->eval();
  const std::vector<std::int64_t> lengths = {6, 1, 4};
  const std::int64_t longest = 6, more = 8;
  const Tensor texts = randint(0, 13, {3, longest + more});  // each row: filling, prompt, what follows
  const Tensor filling = tensor({0, 5, 2});
  std::vector<Tensor> alone;  // the logits of every row without filling, cache and neighbours
  for (std::int64_t row = 0; row < 3; ++row) alone.push_back(model(texts[row].slice(0, longest - lengths[static_cast<std::size_t>(row)]).unsqueeze(0))[0]);
  for (const std::int64_t piece : {1, 2, 3, 8}) {  // one new token at a time, or several
    CAPTURE(piece);
    models::GPTCache cache(3);
    Tensor known = model(texts.narrow(1, 0, longest), &cache, filling);
    for (std::int64_t at = longest; at < longest + more; at += piece) known = cat({known, model(texts.narrow(1, at, std::min(piece, longest + more - at)), &cache, filling)}, 1);
    for (std::int64_t row = 0; row < 3; ++row) CHECK_CLOSE(known[row].slice(0, longest - lengths[static_cast<std::size_t>(row)]), alone[static_cast<std::size_t>(row)], 1e-10, 1e-12);
  }
  // And without a cache: the whole batch at once.
  const Tensor at_once = model(texts, nullptr, filling);
  for (std::int64_t row = 0; row < 3; ++row) CHECK_CLOSE(at_once[row].slice(0, longest - lengths[static_cast<std::size_t>(row)]), alone[static_cast<std::size_t>(row)], 1e-10, 1e-12);
}

TEST_CASE("attention: blocks and the written-out form agree for every size around the blocks' ends") {
  Generator generator(4);
  for (const std::int64_t L : {1, 31, 32, 33, 65})
    for (const std::int64_t S : {1, 63, 64, 65, 129}) {
      const std::string sizes = str(L, " ", S);
      CAPTURE(sizes);
      const Tensor q = randn({1, 2, L, 3}, generator, kDouble), k = randn({1, 1, S, 3}, generator, kDouble), v = randn({1, 1, S, 5}, generator, kDouble);
      for (const bool causal : {false, true}) {
        std::array<std::vector<Tensor>, 2> gradients;
        for (const bool blocks : {false, true}) {
          const std::vector<Tensor> leaves = {q.clone().requires_grad_(), k.clone().requires_grad_(), v.clone().requires_grad_()};
          const Tensor output = blocks ? scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], {}, 0, causal, {}, true)
                                       : std::get<0>(_scaled_dot_product_attention_math(leaves[0], leaves[1], leaves[2], {}, 0, causal, {}, true));
          output.pow(2).sum().backward();
          gradients[blocks] = {output.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
        }
        for (std::size_t i = 0; i < 4; ++i) CHECK_CLOSE(gradients[1][i], gradients[0][i], 1e-10, 1e-12);
      }
    }
}

}  // namespace tinytorch::testing
