#ifndef CONCLAVE_EXPERT_PLACEMENT_TABLE_PLACEMENT_TABLE_H_
#define CONCLAVE_EXPERT_PLACEMENT_TABLE_PLACEMENT_TABLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::placement {

// The rank that serves tokens of from_rank, the nearest of the holders (ascending, not empty): from_rank itself, else
// one of its node, else any; between equals a fixed choice that gives askers different ones. node_of: [ranks]; empty:
// all on one node.
int32_t serving_rank(std::span<const int32_t> holders, int32_t from_rank, std::span<const int32_t> node_of = {});

// Where every routed expert lives: (MoE layer, expert) -> ranks, with an epoch. Immutable value.
// MoE layers are counted 0..M-1; moe_layers() gives their numbers in the model.
class PlacementTable {
 public:
  // Layer by layer, expert e lives on rank e * ranks / experts.
  static PlacementTable contiguous(std::vector<int32_t> moe_layers, int32_t experts, int32_t ranks);
  // Each expert on a random rank; slots per rank as even as the counts allow. For tests.
  static PlacementTable random(std::vector<int32_t> moe_layers, int32_t experts, int32_t ranks, uint64_t seed);
  // holders[layer][expert]: the ranks that hold it. INVALID_ARGUMENT if one is empty, out of range or
  // names a rank twice, or a layer has not `experts` entries.
  static absl::StatusOr<PlacementTable> from_holders(std::vector<int32_t> moe_layers, int32_t experts, int32_t ranks,
                                                     const std::vector<std::vector<std::vector<int32_t>>>& holders);
  // The JSON of `conclave place` ("version", "model_fingerprint", ..., "assignment"[layer][expert] -> [rank...]).
  static absl::StatusOr<PlacementTable> from_json(std::string_view json, std::string_view source_name);
  std::string to_json() const;

  // The same with other holders (ascending, at least one, in 0..ranks()-1) of the experts of one layer.
  PlacementTable with_layer(int32_t layer, const std::vector<std::vector<int32_t>>& holders) const;

  // INVALID_ARGUMENT with a sentence when the table does not fit this model and group.
  absl::Status check_fits(std::span<const int32_t> moe_layers, int32_t experts, int32_t ranks,
                          std::string_view model_fingerprint) const;

  int32_t layers() const { return static_cast<int32_t>(moe_layers_.size()); }
  int32_t experts() const { return experts_; }
  int32_t ranks() const { return ranks_; }
  int64_t epoch() const { return epoch_; }
  std::span<const int32_t> moe_layers() const { return moe_layers_; }
  // [ranks] the node of each; empty when they are all on one.
  std::span<const int32_t> node_of() const { return node_of_; }
  std::vector<int32_t> ranks_per_node() const;  // empty when they are all on one
  const std::string& model_fingerprint() const { return model_fingerprint_; }
  const std::string& profile_id() const { return profile_id_; }
  // The most experts that one rank holds in one layer.
  int32_t slots_per_rank() const;
  // The ranks that hold the expert; at least one, ascending.
  std::span<const int32_t> holders(int32_t layer, int32_t expert) const;
  // See serving_rank() above.
  int32_t serving_rank(int32_t layer, int32_t expert, int32_t from_rank) const;
  // Experts of the layer that the rank holds, ascending.
  std::vector<int32_t> experts_of(int32_t layer, int32_t rank) const;

  void set_model_fingerprint(std::string fingerprint) { model_fingerprint_ = std::move(fingerprint); }
  void set_profile_id(std::string id) { profile_id_ = std::move(id); }
  void set_epoch(int64_t epoch) { epoch_ = epoch; }
  // Which ranks share a machine, for serving_rank(): the first so many are on node 0, and so on. Their sum must be
  // ranks().
  void set_ranks_per_node(std::span<const int32_t> ranks_per_node);

 private:
  std::vector<int32_t> moe_layers_;
  int32_t experts_ = 0;
  int32_t ranks_ = 0;
  int64_t epoch_ = 0;
  std::vector<int32_t> node_of_;
  std::string model_fingerprint_;
  std::string profile_id_;
  std::vector<int32_t> offsets_;  // [layers * experts + 1] into holders_
  std::vector<int32_t> holders_;
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_TABLE_PLACEMENT_TABLE_H_
