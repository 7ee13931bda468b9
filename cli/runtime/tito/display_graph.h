// The autograd graph behind a tensor: a box for each node, an arrow for the way of each gradient.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tinytorch/core/node.h"
#include "tito/display_tensor.h"

namespace tito {

inline constexpr std::size_t most_nodes = 200;

inline std::string sizes_text(const tinytorch::Node& node) {
  if (node.num_inputs() == 0) return "";
  std::string text;
  for (const std::int64_t size : node.input_metadata(0).sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

inline void graph(const tinytorch::Tensor& tensor, const std::string& title = "") {
  std::vector<std::shared_ptr<tinytorch::Node>> nodes;
  std::map<const tinytorch::Node*, std::size_t> numbers;
  const auto number_of = [&](const std::shared_ptr<tinytorch::Node>& node) {
    const auto [place, fresh] = numbers.try_emplace(node.get(), nodes.size());
    if (fresh) nodes.push_back(node);
    return place->second;
  };
  if (tensor.grad_fn()) number_of(tensor.grad_fn());
  std::string boxes, arrows;
  for (std::size_t i = 0; i < nodes.size() && i < most_nodes; ++i) {
    boxes += (i == 0 ? "" : ",") + std::string("{\"name\":") + json_text(nodes[i]->name()) + ",\"sizes\":" + json_text(sizes_text(*nodes[i])) + "}";
    const std::shared_ptr<tinytorch::Node> node = nodes[i];
    for (const tinytorch::Edge& edge : node->next_edges()) {
      if (!edge.is_valid()) continue;
      arrows += (arrows.empty() ? "" : ",") + std::string("[") + std::to_string(i) + "," + std::to_string(number_of(edge.function)) + "]";
    }
  }
  display("graph", "\"title\":" + json_text(title) + ",\"nodes\":[" + boxes + "],\"edges\":[" + arrows +
                       "],\"left_out\":" + std::to_string(nodes.size() > most_nodes ? nodes.size() - most_nodes : 0));
}

}  // namespace tito
