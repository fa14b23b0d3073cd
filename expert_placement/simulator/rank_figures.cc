#include "expert_placement/simulator/rank_figures.h"

#include <array>
#include <cmath>
#include <vector>

namespace conclave::placement {
namespace {

using Figures = std::array<double, 3>;  // logarithms of rate of arithmetic, of reading, overhead

ClusterSpec cluster_of(const ClusterSpec& base, const Figures& figures) {
  ClusterSpec cluster = base;
  cluster.ranks_per_node = {1};
  cluster.flops_per_s = std::exp(figures[0]);
  cluster.weight_bytes_per_s = std::exp(figures[1]);
  cluster.layer_overhead_s = std::exp(figures[2]);
  return cluster;
}

double error_of(const std::vector<CountedStep>& counted, std::span<const MeasuredStep> steps,
                const ClusterSpec& cluster) {
  double error = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double off = std::log(counted[i].at(cluster).total_s() / steps[i].seconds);
    error += off * off;
  }
  return error;
}

std::vector<CountedStep> count(SimulationInput input, std::span<const MeasuredStep> steps) {
  input.cluster.ranks_per_node = {1};
  std::vector<CountedStep> counted;
  for (const MeasuredStep& step : steps) {
    input.batch = step.batch;
    input.context = step.context;
    counted.emplace_back(input);
  }
  return counted;
}

}  // namespace

// One figure after the other, in steps that grow smaller: the error has one valley.
ClusterSpec fit_rank(const SimulationInput& input, std::span<const MeasuredStep> steps) {
  Figures best = {std::log(1e11), std::log(2e10), std::log(1e-5)};
  const std::vector<CountedStep> counted = count(input, steps);
  double least = error_of(counted, steps, cluster_of(input.cluster, best));
  for (double width = 2; width > 0.002; width *= 0.6) {
    for (bool any = true; any;) {
      any = false;
      for (size_t i = 0; i < best.size(); ++i) {
        for (const double sign : {-1.0, 1.0}) {
          Figures tried = best;
          tried[i] += sign * width;
          const double error = error_of(counted, steps, cluster_of(input.cluster, tried));
          if (error >= least * (1 - 1e-9)) continue;
          best = tried;
          least = error;
          any = true;
        }
      }
    }
  }
  return cluster_of(input.cluster, best);
}

}  // namespace conclave::placement
