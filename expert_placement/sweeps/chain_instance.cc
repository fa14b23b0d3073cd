#include "expert_placement/sweeps/chain_instance.h"

#include <algorithm>
#include <numeric>

namespace conclave::placement {

double kept_weight(const ChainInstance& instance, const Assignment& assignment) {
  double kept = 0;
  for (int32_t layer = 0; layer + 1 < instance.layers; ++layer) {
    for (int32_t from = 0; from < instance.experts; ++from) {
      const double* row = instance.weight(layer, from);
      const int32_t rank = assignment.at(layer, from);
      for (int32_t to = 0; to < instance.experts; ++to)
        kept += row[to] * instance.value(rank, assignment.at(layer + 1, to));
    }
  }
  return kept;
}

double excess_load(const ChainInstance& instance, const Assignment& assignment) {
  const size_t ranks = instance.slots.size();
  std::vector<double> load(static_cast<size_t>(instance.layers) * ranks, 0);
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      load[static_cast<size_t>(layer) * ranks +
           static_cast<size_t>(assignment.at(layer, expert))] += instance.load(layer, expert);
    }
  }
  return excess_load(instance, load);
}

double excess_load(const ChainInstance& instance, const std::vector<double>& load_of_rank) {
  double excess = 0;
  for (size_t at = 0; at < load_of_rank.size(); ++at) {
    const double cap = instance.cap[at / instance.slots.size()];
    excess += std::max(0.0, load_of_rank[at] - cap - 1e-9 * cap);
  }
  return excess;
}

bool obeys_slots(const ChainInstance& instance, const Assignment& assignment) {
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    std::vector<int32_t> held(instance.slots.size(), 0);
    for (int32_t expert = 0; expert < instance.experts; ++expert)
      ++held[static_cast<size_t>(assignment.at(layer, expert))];
    for (size_t rank = 0; rank < held.size(); ++rank) {
      if (held[rank] > instance.slots[rank]) return false;
    }
  }
  return true;
}

namespace {

// Lowers the fullest rank by one swap (or move into a free slot); false when none does.
bool improve_balance(const std::vector<double>& loads, const std::vector<int32_t>& slots,
                     std::vector<int32_t>* rank_of, std::vector<double>* load) {
  const auto experts = static_cast<int32_t>(loads.size());
  const auto fullest =
      static_cast<int32_t>(std::max_element(load->begin(), load->end()) - load->begin());
  std::vector<int32_t> held(slots.size(), 0);
  for (int32_t rank : *rank_of) ++held[static_cast<size_t>(rank)];
  double best = (*load)[static_cast<size_t>(fullest)] * (1 - 1e-12);
  int32_t best_out = -1, best_in = -1, best_rank = -1;
  const auto consider = [&](int32_t out, int32_t in, int32_t rank, double moved) {
    const double result = std::max((*load)[static_cast<size_t>(fullest)] - moved,
                                   (*load)[static_cast<size_t>(rank)] + moved);
    if (moved > 0 && result < best) {
      best = result;
      best_out = out, best_in = in, best_rank = rank;
    }
  };
  for (int32_t out = 0; out < experts; ++out) {
    if ((*rank_of)[static_cast<size_t>(out)] != fullest) continue;
    for (int32_t in = 0; in < experts; ++in) {
      const int32_t rank = (*rank_of)[static_cast<size_t>(in)];
      if (rank != fullest)
        consider(out, in, rank, loads[static_cast<size_t>(out)] - loads[static_cast<size_t>(in)]);
    }
    for (size_t rank = 0; rank < slots.size(); ++rank) {
      if (static_cast<int32_t>(rank) != fullest && held[rank] < slots[rank]) {
        consider(out, -1, static_cast<int32_t>(rank), loads[static_cast<size_t>(out)]);
      }
    }
  }
  if (best_out < 0) return false;
  const double moved = loads[static_cast<size_t>(best_out)] -
                       (best_in < 0 ? 0 : loads[static_cast<size_t>(best_in)]);
  (*load)[static_cast<size_t>(fullest)] -= moved;
  (*load)[static_cast<size_t>(best_rank)] += moved;
  (*rank_of)[static_cast<size_t>(best_out)] = best_rank;
  if (best_in >= 0) (*rank_of)[static_cast<size_t>(best_in)] = fullest;
  return true;
}

}  // namespace

BalancedLayer balance_layer(const std::vector<double>& loads, const std::vector<int32_t>& slots) {
  std::vector<int32_t> order(loads.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const double of_a = loads[static_cast<size_t>(a)], of_b = loads[static_cast<size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
  });
  BalancedLayer layer{0, std::vector<int32_t>(loads.size(), 0)};
  std::vector<double> load(slots.size(), 0);
  std::vector<int32_t> held(slots.size(), 0);
  for (int32_t expert : order) {
    size_t lightest = slots.size();
    for (size_t rank = 0; rank < slots.size(); ++rank) {
      if (held[rank] < slots[rank] && (lightest == slots.size() || load[rank] < load[lightest]))
        lightest = rank;
    }
    layer.rank_of[static_cast<size_t>(expert)] = static_cast<int32_t>(lightest);
    load[lightest] += loads[static_cast<size_t>(expert)];
    ++held[lightest];
  }
  for (int round = 0; round < 1000 && improve_balance(loads, slots, &layer.rank_of, &load);
       ++round) {
  }
  layer.most = *std::max_element(load.begin(), load.end());
  return layer;
}

}  // namespace conclave::placement
