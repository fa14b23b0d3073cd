#include "expert_placement/table/placement_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::placement {
namespace {

constexpr int64_t kMaxEntries = int64_t{1} << 24;  // layers x experts of any model we can imagine
constexpr int32_t kMaxRanks = 1 << 16;

using nlohmann::json;

absl::Status bad(std::string_view source, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(source), ": ", what));
}

absl::StatusOr<int64_t> integer(const json& object, const char* key, std::string_view source, int64_t low,
                                int64_t high) {
  const auto it = object.find(key);
  if (it == object.end()) return bad(source, absl::StrCat("key \"", key, "\" is missing"));
  if (!it->is_number_integer()) return bad(source, absl::StrCat("\"", key, "\" must be an integer"));
  const int64_t value = it->get<int64_t>();
  if (value < low || value > high) {
    return bad(source, absl::StrCat("\"", key, "\" is ", value, ", expected ", low, " to ", high));
  }
  return value;
}

// The optional "ranks_per_node"; empty without it.
absl::StatusOr<std::vector<int32_t>> parse_nodes(const json& object, int64_t ranks, std::string_view source) {
  const auto it = object.find("ranks_per_node");
  if (it == object.end() || it->is_null()) return std::vector<int32_t>();
  std::vector<int32_t> nodes;
  int64_t sum = 0;
  for (const json& item : *it) {
    const bool good = it->is_array() && item.is_number_integer() && item.get<int64_t>() >= 1 && item.get<int64_t>() <= ranks;
    sum = good ? sum + item.get<int64_t>() : ranks + 1;
    if (sum > ranks) break;
    nodes.push_back(item.get<int32_t>());
  }
  if (sum != ranks) {
    return bad(source, absl::StrCat("\"ranks_per_node\" must be an array of positive integers whose sum is ", ranks));
  }
  return nodes;
}

absl::StatusOr<std::vector<int32_t>> parse_layers(const json& object, std::string_view source) {
  const auto it = object.find("moe_layers");
  if (it == object.end() || !it->is_array() || it->empty()) {
    return bad(source, "\"moe_layers\" must be a non-empty array of layer numbers");
  }
  std::vector<int32_t> layers;
  for (const json& item : *it) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > 1 << 20) {
      return bad(source, "\"moe_layers\" holds something that is no layer number");
    }
    layers.push_back(item.get<int32_t>());
    if (layers.size() > 1 && layers[layers.size() - 2] >= layers.back()) {
      return bad(source, "\"moe_layers\" must ascend");
    }
  }
  return layers;
}

// One entry of "assignment": [rank, ...], ascending and without repetition once parsed.
absl::StatusOr<std::vector<int32_t>> parse_holders(const json& entry, int64_t ranks, const std::string& where,
                                                   std::string_view source) {
  if (!entry.is_array() || entry.empty()) return bad(source, where + " must be a non-empty array of ranks");
  std::vector<int32_t> holders;
  for (const json& rank : entry) {
    if (!rank.is_number_integer() || rank.get<int64_t>() < 0 || rank.get<int64_t>() >= ranks) {
      return bad(source, absl::StrCat(where, " names a rank that is not in 0..", ranks - 1));
    }
    holders.push_back(rank.get<int32_t>());
  }
  std::sort(holders.begin(), holders.end());
  if (std::adjacent_find(holders.begin(), holders.end()) != holders.end()) {
    return bad(source, where + " names a rank twice");
  }
  return holders;
}

}  // namespace

PlacementTable PlacementTable::contiguous(std::vector<int32_t> moe_layers, int32_t experts, int32_t ranks) {
  PlacementTable table;
  table.moe_layers_ = std::move(moe_layers);
  table.experts_ = experts;
  table.ranks_ = ranks;
  table.offsets_.push_back(0);
  for (size_t layer = 0; layer < table.moe_layers_.size(); ++layer) {
    for (int32_t expert = 0; expert < experts; ++expert) {
      table.holders_.push_back(static_cast<int32_t>(static_cast<int64_t>(expert) * ranks / experts));
      table.offsets_.push_back(static_cast<int32_t>(table.holders_.size()));
    }
  }
  return table;
}

PlacementTable PlacementTable::random(std::vector<int32_t> moe_layers, int32_t experts, int32_t ranks,
                                      uint64_t seed) {
  PlacementTable table = contiguous(std::move(moe_layers), experts, ranks);
  std::mt19937_64 generator(seed);
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    const auto begin = table.holders_.begin() + static_cast<int64_t>(layer) * experts;
    for (int32_t i = experts - 1; i > 0; --i) {
      std::swap(begin[i], begin[static_cast<int32_t>(generator() % static_cast<uint64_t>(i + 1))]);
    }
  }
  return table;
}

absl::StatusOr<PlacementTable> PlacementTable::from_holders(
    std::vector<int32_t> moe_layers, int32_t experts, int32_t ranks,
    const std::vector<std::vector<std::vector<int32_t>>>& holders) {
  if (experts < 1 || ranks < 1 || ranks > kMaxRanks || holders.size() != moe_layers.size()) {
    return absl::InvalidArgumentError("a placement table needs experts, ranks and one row for each MoE layer");
  }
  PlacementTable table;
  table.moe_layers_ = std::move(moe_layers);
  table.experts_ = experts;
  table.ranks_ = ranks;
  table.offsets_.push_back(0);
  for (size_t layer = 0; layer < holders.size(); ++layer) {
    if (holders[layer].size() != static_cast<size_t>(experts)) {
      return absl::InvalidArgumentError(absl::StrCat("placement of layer ", layer, " has ", holders[layer].size(),
                                                     " experts, expected ", experts));
    }
    for (std::vector<int32_t> ranks_of : holders[layer]) {
      std::sort(ranks_of.begin(), ranks_of.end());
      if (ranks_of.empty() || ranks_of.front() < 0 || ranks_of.back() >= ranks ||
          std::adjacent_find(ranks_of.begin(), ranks_of.end()) != ranks_of.end()) {
        return absl::InvalidArgumentError(absl::StrCat("placement of layer ", layer,
                                                       " has an expert without ranks, or with a rank twice or unknown"));
      }
      table.holders_.insert(table.holders_.end(), ranks_of.begin(), ranks_of.end());
      table.offsets_.push_back(static_cast<int32_t>(table.holders_.size()));
    }
  }
  return table;
}

absl::StatusOr<PlacementTable> PlacementTable::from_json(std::string_view text, std::string_view source) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded() || !root.is_object()) return bad(source, "is not a JSON object; expected a placement table");
  ASSIGN_OR_RETURN(const int64_t version, integer(root, "version", source, 1, INT32_MAX));
  if (version != 1) return bad(source, absl::StrCat("placement table version ", version, ", this build reads 1"));
  PlacementTable table;
  ASSIGN_OR_RETURN(table.moe_layers_, parse_layers(root, source));
  ASSIGN_OR_RETURN(const int64_t experts, integer(root, "experts", source, 1, 1 << 20));
  ASSIGN_OR_RETURN(const int64_t ranks, integer(root, "ranks", source, 1, kMaxRanks));
  table.experts_ = static_cast<int32_t>(experts);
  table.ranks_ = static_cast<int32_t>(ranks);
  ASSIGN_OR_RETURN(const std::vector<int32_t> nodes, parse_nodes(root, ranks, source));
  table.set_ranks_per_node(nodes);
  if (root.contains("epoch")) {
    ASSIGN_OR_RETURN(table.epoch_, integer(root, "epoch", source, 0, INT64_MAX));
  }
  for (const auto& [key, field] : {std::pair<const char*, std::string*>{"model_fingerprint", &table.model_fingerprint_},
                                   {"profile_id", &table.profile_id_}}) {
    if (root.contains(key) && root[key].is_string()) *field = root[key].get<std::string>();
  }
  const auto assignment = root.find("assignment");
  if (assignment == root.end() || !assignment->is_array() || assignment->size() != table.moe_layers_.size()) {
    return bad(source, absl::StrCat("\"assignment\" must hold one array for each of the ", table.moe_layers_.size(),
                                    " MoE layers"));
  }
  if (static_cast<int64_t>(table.moe_layers_.size()) * experts > kMaxEntries) {
    return bad(source, "more experts than any model has");
  }
  table.offsets_.push_back(0);
  for (size_t layer = 0; layer < assignment->size(); ++layer) {
    const json& row = (*assignment)[layer];
    if (!row.is_array() || row.size() != static_cast<size_t>(experts)) {
      return bad(source, absl::StrCat("assignment[", layer, "] must hold ", experts, " experts"));
    }
    for (size_t expert = 0; expert < row.size(); ++expert) {
      const std::string where = absl::StrCat("assignment[", layer, "][", expert, "]");
      ASSIGN_OR_RETURN(const std::vector<int32_t> holders, parse_holders(row[expert], ranks, where, source));
      table.holders_.insert(table.holders_.end(), holders.begin(), holders.end());
      table.offsets_.push_back(static_cast<int32_t>(table.holders_.size()));
    }
  }
  return table;
}

std::string PlacementTable::to_json() const {
  nlohmann::ordered_json root{{"version", 1},
                              {"model_fingerprint", model_fingerprint_},
                              {"profile_id", profile_id_},
                              {"epoch", epoch_},
                              {"moe_layers", moe_layers_},
                              {"experts", experts_},
                              {"ranks", ranks_}};
  if (!node_of_.empty()) root["ranks_per_node"] = ranks_per_node();
  nlohmann::ordered_json assignment = nlohmann::ordered_json::array();
  for (int32_t layer = 0; layer < layers(); ++layer) {
    nlohmann::ordered_json row = nlohmann::ordered_json::array();
    for (int32_t expert = 0; expert < experts_; ++expert) {
      const auto where = holders(layer, expert);
      row.push_back(std::vector<int32_t>(where.begin(), where.end()));
    }
    assignment.push_back(std::move(row));
  }
  root["slots_per_rank"] = slots_per_rank();
  root["assignment"] = std::move(assignment);
  return root.dump();
}

absl::Status PlacementTable::check_fits(std::span<const int32_t> moe_layers, int32_t experts, int32_t ranks,
                                        std::string_view fingerprint) const {
  if (!model_fingerprint_.empty() && !fingerprint.empty() && model_fingerprint_ != fingerprint) {
    return absl::InvalidArgumentError(absl::StrCat("the placement table was made for model ", model_fingerprint_,
                                                   ", this is model ", std::string(fingerprint),
                                                   "; make a table for this model"));
  }
  if (experts != experts_ || !std::equal(moe_layers.begin(), moe_layers.end(), moe_layers_.begin(), moe_layers_.end())) {
    return absl::InvalidArgumentError(absl::StrCat("the placement table is for ", moe_layers_.size(), " MoE layers of ",
                                                   experts_, " experts, the model has ", moe_layers.size(), " of ",
                                                   experts, "; make a table for this model"));
  }
  if (ranks != ranks_) {
    return absl::InvalidArgumentError(absl::StrCat("the placement table is for ", ranks_, " ranks, the group has ",
                                                   ranks, "; start that many ranks or make a table for them"));
  }
  return absl::OkStatus();
}

int32_t PlacementTable::slots_per_rank() const {
  int32_t most = 0;
  for (int32_t layer = 0; layer < layers(); ++layer) {
    std::vector<int32_t> held(static_cast<size_t>(ranks_), 0);
    for (int32_t expert = 0; expert < experts_; ++expert) {
      for (int32_t rank : holders(layer, expert)) most = std::max(most, ++held[static_cast<size_t>(rank)]);
    }
  }
  return most;
}

std::span<const int32_t> PlacementTable::holders(int32_t layer, int32_t expert) const {
  const size_t index = static_cast<size_t>(layer) * static_cast<size_t>(experts_) + static_cast<size_t>(expert);
  return std::span<const int32_t>(holders_).subspan(static_cast<size_t>(offsets_[index]),
                                                    static_cast<size_t>(offsets_[index + 1] - offsets_[index]));
}

int32_t serving_rank(std::span<const int32_t> holders, int32_t from_rank, std::span<const int32_t> node_of) {
  if (std::find(holders.begin(), holders.end(), from_rank) != holders.end()) return from_rank;
  if (!node_of.empty()) {
    // Ranks of a node are consecutive, so its holders are too.
    const int32_t node = node_of[static_cast<size_t>(from_rank)];
    const auto on_node = [&](int32_t rank) { return node_of[static_cast<size_t>(rank)] == node; };
    const auto first = std::find_if(holders.begin(), holders.end(), on_node);
    const auto last = std::find_if_not(first, holders.end(), on_node);
    if (first != last) holders = std::span<const int32_t>(first, last);
  }
  return holders[static_cast<size_t>(from_rank) % holders.size()];
}

int32_t PlacementTable::serving_rank(int32_t layer, int32_t expert, int32_t from_rank) const {
  return placement::serving_rank(holders(layer, expert), from_rank, node_of_);
}

std::vector<int32_t> PlacementTable::ranks_per_node() const {
  std::vector<int32_t> nodes(node_of_.empty() ? 0 : static_cast<size_t>(node_of_.back()) + 1, 0);
  for (const int32_t node : node_of_) ++nodes[static_cast<size_t>(node)];
  return nodes;
}

void PlacementTable::set_ranks_per_node(std::span<const int32_t> ranks_per_node) {
  node_of_.clear();
  if (ranks_per_node.size() < 2) return;
  for (size_t node = 0; node < ranks_per_node.size(); ++node)
    node_of_.insert(node_of_.end(), static_cast<size_t>(ranks_per_node[node]), static_cast<int32_t>(node));
}

PlacementTable PlacementTable::with_layer(int32_t layer,
                                          const std::vector<std::vector<int32_t>>& holders) const {
  PlacementTable changed = *this;
  changed.offsets_.assign(1, 0);
  changed.holders_.clear();
  for (int32_t l = 0; l < layers(); ++l) {
    for (int32_t expert = 0; expert < experts_; ++expert) {
      const std::span<const int32_t> where =
          l == layer ? std::span<const int32_t>(holders[static_cast<size_t>(expert)])
                     : this->holders(l, expert);
      changed.holders_.insert(changed.holders_.end(), where.begin(), where.end());
      changed.offsets_.push_back(static_cast<int32_t>(changed.holders_.size()));
    }
  }
  return changed;
}

std::vector<int32_t> PlacementTable::experts_of(int32_t layer, int32_t rank) const {
  std::vector<int32_t> experts;
  for (int32_t expert = 0; expert < experts_; ++expert) {
    const auto where = holders(layer, expert);
    if (std::find(where.begin(), where.end(), rank) != where.end()) experts.push_back(expert);
  }
  return experts;
}

}  // namespace conclave::placement
