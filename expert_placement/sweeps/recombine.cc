#include "expert_placement/sweeps/recombine.h"

#include "expert_placement/flow/balanced_assignment.h"

namespace conclave::placement {

void align_ranks(const ChainInstance& instance, const Assignment& model, Assignment* other) {
  if (instance.same_node_value != 0) return;
  const size_t ranks = instance.slots.size();
  std::vector<double> shared(ranks * ranks, 0);
  for (size_t i = 0; i < model.rank_of.size(); ++i) {
    shared[static_cast<size_t>(other->rank_of[i]) * ranks +
           static_cast<size_t>(model.rank_of[i])] += 1;
  }
  for (size_t a = 0; a < ranks; ++a) {
    for (size_t b = 0; b < ranks; ++b) {
      if (instance.slots[a] != instance.slots[b])
        shared[a * ranks + b] = -2 * static_cast<double>(model.rank_of.size());
    }
  }
  const std::vector<int32_t> name = assign_balanced(shared, std::vector<int32_t>(ranks, 1));
  for (int32_t& rank : other->rank_of) rank = name[static_cast<size_t>(rank)];
}

FreeExperts differing(const ChainInstance& instance, const Assignment& a, const Assignment& b) {
  FreeExperts experts(static_cast<size_t>(instance.layers));
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      if (a.at(layer, expert) != b.at(layer, expert))
        experts[static_cast<size_t>(layer)].push_back(expert);
    }
  }
  return experts;
}

int64_t count(const FreeExperts& experts) {
  int64_t count = 0;
  for (const std::vector<int32_t>& layer : experts) count += static_cast<int64_t>(layer.size());
  return count;
}

}  // namespace conclave::placement
