// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.

#include "tinytorch/benchmarking/pareto.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "tinytorch/core/error.h"
#include "tinytorch/profiling/pictures.h"

namespace tinytorch {

// The candidates for which no other one is at least as fast and at least as accurate, and better in one; sorted by time, then by index.
std::vector<std::size_t> benchmarking::pareto_front(const std::vector<Candidate>& candidates) {
  std::vector<std::size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const Candidate& left = candidates[a];
    const Candidate& right = candidates[b];
    return left.seconds != right.seconds ? left.seconds < right.seconds : left.accuracy > right.accuracy;
  });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    const bool better = front.empty() || candidates[i].accuracy > candidates[front.back()].accuracy;
    const bool equal = !front.empty() && candidates[i].accuracy == candidates[front.back()].accuracy && candidates[i].seconds == candidates[front.back()].seconds;
    if (better || equal) front.push_back(i);
  }
  return front;
}

namespace {

// Where candidates lie in a picture: from 0 to 1, left is fast (on a logarithmic axis), up is good.
struct Axes {
  explicit Axes(const std::vector<benchmarking::Candidate>& candidates) {
    TORCH_CHECK_VALUE(!candidates.empty(), "a Pareto picture needs candidates, but got none");
    for (const benchmarking::Candidate& one : candidates) {
      TORCH_CHECK_VALUE(one.seconds > 0 && std::isfinite(one.seconds), "a Pareto picture needs positive times, but '", one.name, "' has ", one.seconds);
      TORCH_CHECK_VALUE(std::isfinite(one.accuracy), "a Pareto picture needs accuracies that are numbers, but '", one.name, "' has ", one.accuracy);
      fastest = std::min(fastest, one.seconds);
      slowest = std::max(slowest, one.seconds);
      worst = std::min(worst, one.accuracy);
      best = std::max(best, one.accuracy);
    }
  }
  double x(double seconds) const { return slowest > fastest ? (std::log(seconds) - std::log(fastest)) / (std::log(slowest) - std::log(fastest)) : 0.5; }
  double y(double accuracy) const { return best > worst ? (accuracy / 2 - worst / 2) / (best / 2 - worst / 2) : 0.5; }  // halves: a difference may be too large for a double

  double fastest = HUGE_VAL, slowest = 0, worst = HUGE_VAL, best = -HUGE_VAL;
};

std::string formatted(const char* format, double a, double b = 0) {
  char text[80];
  std::snprintf(text, sizeof text, format, a, b);
  return text;
}

}  // namespace

std::string benchmarking::pareto_text(const std::vector<Candidate>& candidates, std::size_t width, std::size_t height) {
  const Axes axes(candidates);
  TORCH_CHECK_VALUE(width > 0 && height > 0, "a Pareto picture needs a column and a row at least, but got ", width, " columns and ", height, " rows");
  const std::vector<std::size_t> front = pareto_front(candidates);
  std::vector<std::string> rows(height, std::string(width, ' '));
  const auto plot = [&](const Candidate& one, char mark) {
    const auto column = static_cast<std::size_t>(std::lround(axes.x(one.seconds) * static_cast<double>(width - 1)));
    const auto row = static_cast<std::size_t>(std::lround((1 - axes.y(one.accuracy)) * static_cast<double>(height - 1)));
    rows[row][column] = mark;
  };
  for (const Candidate& one : candidates) plot(one, 'o');
  for (const std::size_t i : front) plot(candidates[i], '*');
  std::string text;
  for (std::size_t row = 0; row < height; ++row) {
    const bool labelled = row == 0 || row + 1 == height;
    text += (labelled ? formatted("%8.4f |", row == 0 ? axes.best : axes.worst) : "         |") + rows[row] + "\n";
  }
  text += "         +" + std::string(width, '-') + formatted("\n          %.3g s to %.3g s, logarithmic\n", axes.fastest, axes.slowest);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const bool chosen = std::find(front.begin(), front.end(), i) != front.end();
    text += formatted("  %.6g s, %.4f  ", candidates[i].seconds, candidates[i].accuracy) + (chosen ? "* " : "o ") + candidates[i].name + "\n";
  }
  return text;
}

std::string benchmarking::pareto_svg(const std::vector<Candidate>& candidates) {
  const Axes axes(candidates);
  const auto x = [&](double seconds) { return 60 + 500 * axes.x(seconds); };
  const auto y = [&](double accuracy) { return 260 - 220 * axes.y(accuracy); };
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 320\" font-family=\"sans-serif\" font-size=\"11\">\n";
  svg += "<path d=\"M50 30V270H600\" fill=\"none\" stroke=\"black\"/>\n";
  svg += formatted("<text x=\"50\" y=\"300\">time, %.3g s to %.3g s (logarithmic)</text>", axes.fastest, axes.slowest);
  svg += formatted("<text x=\"50\" y=\"20\">accuracy, %.4g to %.4g</text>\n", axes.worst, axes.best);
  std::string steps;
  const std::vector<std::size_t> front = pareto_front(candidates);
  for (const std::size_t i : front) {
    steps += steps.empty() ? formatted("M%.1f %.1f", x(candidates[i].seconds), y(candidates[i].accuracy)) : formatted("H%.1fV%.1f", x(candidates[i].seconds), y(candidates[i].accuracy));
  }
  svg += "<path d=\"" + steps + "\" fill=\"none\" stroke=\"steelblue\"/>\n";
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const bool chosen = std::find(front.begin(), front.end(), i) != front.end();
    svg += formatted("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"", x(candidates[i].seconds), y(candidates[i].accuracy)) + (chosen ? " fill=\"steelblue\"/>" : " fill=\"silver\"/>");
    svg += formatted("<text x=\"%.1f\" y=\"%.1f\">", x(candidates[i].seconds) + 7, y(candidates[i].accuracy) + 4) + autograd::profiler::xml_text(candidates[i].name) + "</text>\n";
  }
  return svg + "</svg>\n";
}

}  // namespace tinytorch
