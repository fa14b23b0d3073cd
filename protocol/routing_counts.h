#ifndef CONCLAVE_PROTOCOL_ROUTING_COUNTS_H_
#define CONCLAVE_PROTOCOL_ROUTING_COUNTS_H_

#include <cstdint>
#include <vector>

namespace conclave::protocol {

// What the routers of one rank's rows chose since its last report. Sparse: only what occurred.
struct RoutingCounts {
  struct Entry {
    uint32_t index = 0;
    uint32_t count = 0;
  };
  int64_t rows = 0;                // token rows counted
  std::vector<Entry> loads;        // index: layer * E + expert
  std::vector<Entry> transitions;  // (layer * E + leader) * E + leader in layer + 1
  std::vector<Entry> pairs;        // (layer * E + a) * E + b with a < b
  // Some rows whole, for objectives that need them: [samples, layers * k], highest weight first.
  std::vector<uint16_t> samples;
  std::vector<int32_t> sample_sequences;  // [samples]
};

// What the routers chose for every row of a step that one rank saw, whole: entry i is row
// places[i] / M of the plan (rows counted over its chunks in order) in MoE layer places[i] % M, for M
// MoE layers. A row that follows its experts is told of by another rank in each layer.
struct RowRouting {
  std::vector<uint32_t> places;
  std::vector<uint16_t> experts;  // [entries, k], highest weight first

  void add(const RowRouting& other) {
    places.insert(places.end(), other.places.begin(), other.places.end());
    experts.insert(experts.end(), other.experts.begin(), other.experts.end());
  }
};

// Rows and bytes of one plan in one direction, as the placement objective counts them: one message
// is one (token, remote rank) pair in one MoE layer.
enum class TrafficPlan : uint8_t { kFixed = 0, kCoherent = 1 };
enum class TrafficDirection : uint8_t { kDispatch = 0, kReturn = 1, kKeyValue = 2 };
struct Traffic {
  TrafficPlan plan = TrafficPlan::kFixed;
  TrafficDirection direction = TrafficDirection::kDispatch;
  int64_t messages = 0;
  int64_t bytes = 0;  // of rows, without lists and padding
};

}  // namespace conclave::protocol

#endif  // CONCLAVE_PROTOCOL_ROUTING_COUNTS_H_
