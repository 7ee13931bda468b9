// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace tinytorch {

namespace benchmarking {

// A candidate: how long it takes (less is better) and how good it is (more is better).
struct Candidate {
  std::string name;
  double seconds = 0;
  double accuracy = 0;
};

// The indices of those that no other dominates, from fast to slow. O(n log n).
std::vector<std::size_t> pareto_front(const std::vector<Candidate>& candidates);

// A picture for the terminal: '*' on the front, 'o' off it, time on a logarithmic axis, with a legend. Throws ValueError for no candidates, for times that are not positive numbers, for accuracies that are not finite, and for a picture without a column or a row.
std::string pareto_text(const std::vector<Candidate>& candidates, std::size_t width = 60, std::size_t height = 12);

// The same as an SVG document, the front joined by a line of steps.
std::string pareto_svg(const std::vector<Candidate>& candidates);

}  // namespace benchmarking

}  // namespace tinytorch
