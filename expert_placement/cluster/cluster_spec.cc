#include "expert_placement/cluster/cluster_spec.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace conclave::placement {
namespace {

using nlohmann::json;
constexpr int32_t kMaxRanks = 1 << 16;

absl::Status bad(std::string_view source, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(source), ": ", what));
}

absl::Status read_number(const json& object, const char* key, double low, std::string_view source,
                         double* out) {
  const auto it = object.find(key);
  if (it == object.end()) return absl::OkStatus();
  if (!it->is_number() || !(it->get<double>() >= low) || it->get<double>() > 1e18) {
    return bad(source, absl::StrCat("\"", key, "\" must be a number of at least ", low));
  }
  *out = it->get<double>();
  return absl::OkStatus();
}

absl::Status read_link(const json& root, const char* key, std::string_view source,
                       LinkClass* link) {
  const auto it = root.find(key);
  if (it == root.end()) return absl::OkStatus();
  if (!it->is_object()) return bad(source, absl::StrCat("\"", key, "\" must be an object"));
  RETURN_IF_ERROR(read_number(*it, "latency_s", 0, source, &link->latency_s));
  return read_number(*it, "bytes_per_s", 1, source, &link->bytes_per_s);
}

absl::Status read_nodes(const json& root, std::string_view source, ClusterSpec* spec) {
  const auto nodes = root.find("nodes");
  if (nodes == root.end() || !nodes->is_array() || nodes->empty()) {
    return bad(source, "\"nodes\" must be a non-empty array of {\"ranks\": N}");
  }
  for (const json& node : *nodes) {
    if (!node.is_object() || !node.contains("ranks") || !node["ranks"].is_number_integer() ||
        node["ranks"].get<int64_t>() < 1 || node["ranks"].get<int64_t>() > kMaxRanks) {
      return bad(source, absl::StrCat("each of \"nodes\" needs \"ranks\", an integer from 1 to ",
                                      kMaxRanks));
    }
    spec->ranks_per_node.push_back(node["ranks"].get<int32_t>());
    if (static_cast<int64_t>(spec->ranks_per_node.size()) > kMaxRanks)
      return bad(source, "more nodes than a cluster has");
  }
  if (std::accumulate(spec->ranks_per_node.begin(), spec->ranks_per_node.end(), int64_t{0}) >
      kMaxRanks) {
    return bad(source, absl::StrCat("more than ", kMaxRanks, " ranks"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ClusterSpec> ClusterSpec::even(int32_t ranks, int32_t nodes) {
  if (ranks < 1 || ranks > kMaxRanks || nodes < 1 || nodes > ranks) {
    return absl::InvalidArgumentError(absl::StrCat(ranks, " rank(s) on ", nodes,
                                                   " node(s): there must be 1 to ", kMaxRanks,
                                                   " ranks and no more nodes than ranks"));
  }
  ClusterSpec spec;
  for (int32_t node = 0; node < nodes; ++node) {
    spec.ranks_per_node.push_back((node + 1) * ranks / nodes - node * ranks / nodes);
  }
  return spec;
}

absl::StatusOr<ClusterSpec> ClusterSpec::from_json(std::string_view text, std::string_view source) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return bad(source, "is not a JSON object; expected a cluster description");
  if (!root.contains("version") || root["version"] != 1)
    return bad(source, "\"version\" must be 1");
  ClusterSpec spec;
  RETURN_IF_ERROR(read_nodes(root, source, &spec));
  RETURN_IF_ERROR(read_link(root, "intra_node", source, &spec.intra_node));
  RETURN_IF_ERROR(read_link(root, "inter_node", source, &spec.inter_node));
  const auto rank = root.find("rank");
  if (rank != root.end()) {
    if (!rank->is_object()) return bad(source, "\"rank\" must be an object");
    double memory = 0;
    RETURN_IF_ERROR(read_number(*rank, "flops_per_s", 1, source, &spec.flops_per_s));
    RETURN_IF_ERROR(read_number(*rank, "weight_bytes_per_s", 1, source, &spec.weight_bytes_per_s));
    RETURN_IF_ERROR(read_number(*rank, "layer_overhead_s", 0, source, &spec.layer_overhead_s));
    RETURN_IF_ERROR(read_number(*rank, "step_overhead_s", 0, source, &spec.step_overhead_s));
    RETURN_IF_ERROR(read_number(*rank, "token_overhead_s", 0, source, &spec.token_overhead_s));
    RETURN_IF_ERROR(read_number(*rank, "memory_bytes", 0, source, &memory));
    spec.memory_bytes = static_cast<uint64_t>(memory);
  }
  return spec;
}

absl::StatusOr<ClusterSpec> ClusterSpec::load(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  return from_json(text, path);
}

std::string ClusterSpec::to_json() const {
  const auto link = [](const LinkClass& l) {
    return nlohmann::ordered_json{{"latency_s", l.latency_s}, {"bytes_per_s", l.bytes_per_s}};
  };
  nlohmann::ordered_json nodes_json = nlohmann::ordered_json::array();
  for (int32_t count : ranks_per_node) nodes_json.push_back({{"ranks", count}});
  return nlohmann::ordered_json{{"version", 1},
                                {"nodes", nodes_json},
                                {"intra_node", link(intra_node)},
                                {"inter_node", link(inter_node)},
                                {"rank",
                                 {{"flops_per_s", flops_per_s},
                                  {"weight_bytes_per_s", weight_bytes_per_s},
                                  {"layer_overhead_s", layer_overhead_s},
                                  {"step_overhead_s", step_overhead_s},
                                  {"token_overhead_s", token_overhead_s},
                                  {"memory_bytes", memory_bytes}}}}
      .dump(2);
}

int32_t ClusterSpec::ranks() const {
  return std::accumulate(ranks_per_node.begin(), ranks_per_node.end(), 0);
}

int32_t ClusterSpec::node_of(int32_t rank) const {
  int32_t node = 0;
  while (node + 1 < nodes() && rank >= ranks_per_node[static_cast<size_t>(node)]) {
    rank -= ranks_per_node[static_cast<size_t>(node)];
    ++node;
  }
  return node;
}

}  // namespace conclave::placement
