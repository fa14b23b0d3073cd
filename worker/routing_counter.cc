#include "worker/routing_counter.h"

#include <algorithm>

namespace conclave::worker {

RoutingCounter::RoutingCounter(int32_t moe_layers, int32_t experts, int32_t top_k,
                               int32_t max_samples)
    : moe_layers_(moe_layers), experts_(experts), top_k_(top_k), max_samples_(max_samples) {
  const auto layers = static_cast<size_t>(moe_layers);
  const auto e = static_cast<size_t>(experts);
  loads_.resize(layers * e);
  transitions_.resize(layers > 0 ? (layers - 1) * e * e : 0);
  pairs_.resize(layers * e * e);
  samples_.resize(static_cast<size_t>(max_samples) * layers * static_cast<size_t>(top_k));
  sample_sequences_.resize(static_cast<size_t>(max_samples));
}

int32_t RoutingCounter::leader(std::span<const int32_t> ids, std::span<const float> weights) {
  const auto best = std::max_element(weights.begin(), weights.end()) - weights.begin();
  return ids[static_cast<size_t>(best)];
}

// Each id's place is counted: k is small, and equal weights keep the order of ids.
void RoutingCounter::by_weight(std::span<const int32_t> ids, std::span<const float> weights,
                               uint16_t* out) {
  for (size_t i = 0; i < ids.size(); ++i) {
    size_t place = 0;
    for (size_t j = 0; j < ids.size(); ++j) {
      place += weights[j] > weights[i] || (weights[j] == weights[i] && j < i) ? 1 : 0;
    }
    out[place] = static_cast<uint16_t>(ids[i]);
  }
}

void RoutingCounter::count(int32_t moe_layer, std::span<const int32_t> ids, int32_t previous,
                           int32_t leading) {
  const auto e = static_cast<size_t>(experts_);
  const auto layer = static_cast<size_t>(moe_layer);
  uint32_t* loads = loads_.data() + layer * e;
  uint32_t* pairs = pairs_.data() + layer * e * e;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto a = static_cast<size_t>(ids[i]);
    ++loads[a];
    for (size_t j = i + 1; j < ids.size(); ++j) ++pairs[a * e + static_cast<size_t>(ids[j])];
  }
  if (moe_layer == 0) {
    ++rows_;
  } else {
    ++transitions_[((layer - 1) * e + static_cast<size_t>(previous)) * e +
                   static_cast<size_t>(leading)];
  }
}

int32_t RoutingCounter::begin_sample(uint64_t sequence_id) {
  if (samples_taken_ >= max_samples_) return -1;
  sample_sequences_[static_cast<size_t>(samples_taken_)] =
      static_cast<int32_t>(sequence_id & 0x7fffffff);
  return samples_taken_++;
}

void RoutingCounter::sample(int32_t slot, int32_t moe_layer, std::span<const int32_t> ids,
                            std::span<const float> weights) {
  if (slot < 0) return;
  const auto k = static_cast<size_t>(top_k_);
  uint16_t* out = samples_.data() + (static_cast<size_t>(slot) * static_cast<size_t>(moe_layers_) +
                                     static_cast<size_t>(moe_layer)) *
                                        k;
  by_weight(ids, weights, out);
}

std::vector<protocol::RoutingCounts::Entry> RoutingCounter::take_entries(
    std::vector<uint32_t>* counts) {
  std::vector<protocol::RoutingCounts::Entry> entries;
  for (size_t i = 0; i < counts->size(); ++i) {
    uint32_t& count = (*counts)[i];
    if (count == 0) continue;
    entries.push_back({static_cast<uint32_t>(i), count});
    count = 0;
  }
  return entries;
}

protocol::RoutingCounts RoutingCounter::take() {
  protocol::RoutingCounts counts;
  counts.rows = rows_;
  rows_ = 0;
  counts.loads = take_entries(&loads_);
  counts.transitions = take_entries(&transitions_);
  counts.pairs = take_entries(&pairs_);
  const auto taken = static_cast<size_t>(samples_taken_);
  const auto row = static_cast<size_t>(moe_layers_) * static_cast<size_t>(top_k_);
  counts.samples.assign(samples_.begin(), samples_.begin() + static_cast<int64_t>(taken * row));
  counts.sample_sequences.assign(sample_sequences_.begin(),
                                 sample_sequences_.begin() + static_cast<int64_t>(taken));
  samples_taken_ = 0;
  return counts;
}

}  // namespace conclave::worker
