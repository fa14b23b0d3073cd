// Compiled as C++17: LEMON 1.3 uses allocator members that C++20 removed.
#include "expert_placement/flow/min_cost_flow.h"

#include <lemon/network_simplex.h>
#include <lemon/smart_graph.h>

namespace conclave::placement {

FlowSolution min_cost_flow(const FlowProblem& problem) {
  using Graph = lemon::SmartDigraph;
  Graph graph;
  graph.reserveNode(problem.nodes);
  graph.reserveArc(static_cast<int>(problem.arcs.size()));
  for (int32_t node = 0; node < problem.nodes; ++node) graph.addNode();
  Graph::ArcMap<int64_t> capacity(graph), cost(graph);
  Graph::NodeMap<int64_t> supply(graph);
  for (const FlowArc& arc : problem.arcs) {
    const Graph::Arc added = graph.addArc(Graph::nodeFromId(arc.from), Graph::nodeFromId(arc.to));
    capacity[added] = arc.capacity;
    cost[added] = arc.cost;
  }
  for (int32_t node = 0; node < problem.nodes; ++node) {
    supply[Graph::nodeFromId(node)] = problem.supply[static_cast<size_t>(node)];
  }
  lemon::NetworkSimplex<Graph, int64_t, int64_t> simplex(graph);
  simplex.upperMap(capacity).costMap(cost).supplyMap(supply);
  FlowSolution solution;
  solution.feasible = simplex.run() == lemon::NetworkSimplex<Graph, int64_t, int64_t>::OPTIMAL;
  if (!solution.feasible) return solution;
  solution.cost = simplex.totalCost<int64_t>();
  solution.flow.reserve(problem.arcs.size());
  for (size_t arc = 0; arc < problem.arcs.size(); ++arc) {
    solution.flow.push_back(simplex.flow(Graph::arcFromId(static_cast<int>(arc))));
  }
  return solution;
}

}  // namespace conclave::placement
