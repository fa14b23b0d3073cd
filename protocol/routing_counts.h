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
