#include "expert_placement/simulator/rank_figures.h"

#include <array>
#include <cmath>

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

double error_of(SimulationInput input, std::span<const MeasuredStep> steps,
                const Figures& figures) {
  input.cluster = cluster_of(input.cluster, figures);
  double error = 0;
  for (const MeasuredStep& step : steps) {
    input.batch = step.batch;
    input.context = step.context;
    const double off = std::log(simulate_step(input).total_s() / step.seconds);
    error += off * off;
  }
  return error;
}

}  // namespace

// One figure after the other, in steps that grow smaller: the error has one valley.
ClusterSpec fit_rank(const SimulationInput& input, std::span<const MeasuredStep> steps) {
  Figures best = {std::log(1e11), std::log(2e10), std::log(1e-5)};
  double least = error_of(input, steps, best);
  for (double width = 2; width > 0.002; width *= 0.6) {
    for (bool any = true; any;) {
      any = false;
      for (size_t i = 0; i < best.size(); ++i) {
        for (const double sign : {-1.0, 1.0}) {
          Figures tried = best;
          tried[i] += sign * width;
          const double error = error_of(input, steps, tried);
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
