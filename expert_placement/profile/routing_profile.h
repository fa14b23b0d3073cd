#ifndef CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_PROFILE_H_
#define CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_PROFILE_H_

// What the routers of a model did: per MoE layer expert loads, transitions of the leading expert to
// the next MoE layer, pairwise co-activation inside a layer; and, where known, a sample of whole
// rows.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "expert_placement/profile/routing_rows.h"

namespace conclave::placement {

struct ProfileShape {
  std::vector<int32_t> moe_layers;  // numbers of the MoE layers in the model, ascending
  int32_t experts = 0;
  int32_t top_k = 0;
  bool operator==(const ProfileShape&) const = default;
};

// A value; not thread-safe. Counts are doubles because ageing scales them. "Layer" counts MoE
// layers from 0. Matrices are row-major [E, E]. Methods that take indices require them to be in
// range.
class RoutingProfile {
 public:
  // INVALID_ARGUMENT for no layers, E < 1, k outside 1..E, or more than 2^31 matrix entries.
  static absl::StatusOr<RoutingProfile> create(ProfileShape shape);
  // Counts every row and keeps up to max_samples of them (whole sequences, evenly spread).
  static absl::StatusOr<RoutingProfile> from_rows(const RoutingRows& rows,
                                                  std::vector<int32_t> moe_layers,
                                                  int64_t max_samples = 65536);

  const ProfileShape& shape() const { return shape_; }
  int32_t layers() const { return static_cast<int32_t>(shape_.moe_layers.size()); }
  int32_t experts() const { return shape_.experts; }
  int32_t top_k() const { return shape_.top_k; }
  double tokens() const { return tokens_; }
  bool empty() const { return tokens_ <= 0; }
  // [E]: tokens that used the expert; sums to tokens * k.
  std::span<const double> loads(int32_t layer) const;
  // [E, E], layer in [0, layers - 1): tokens whose leading expert went from row (layer) to column
  // (layer + 1).
  std::span<const double> transitions(int32_t layer) const;
  // [E, E], symmetric, zero diagonal: tokens that used both experts.
  std::span<const double> pairs(int32_t layer) const;
  const RoutingRows& samples() const { return samples_; }  // may be empty

  // One token: [layers * top_k] expert ids, highest weight first in each layer.
  void add_row(std::span<const uint16_t> chosen);
  void add_tokens(double n) { tokens_ += n; }
  void add_load(int32_t layer, int32_t expert, double n);
  void add_transition(int32_t layer, int32_t from, int32_t to, double n);
  void add_pair(int32_t layer, int32_t a, int32_t b, double n);  // both triangles
  void set_samples(RoutingRows samples) { samples_ = std::move(samples); }
  // Adds other's counts; samples are kept from the one that has more. INVALID_ARGUMENT if shapes or
  // fingerprints differ.
  absl::Status add(const RoutingProfile& other);
  // Exponential ageing: multiplies every count (0 <= factor <= 1).
  void age(double factor);

  const std::string& model_fingerprint() const { return model_fingerprint_; }
  void set_model_fingerprint(std::string fingerprint) {
    model_fingerprint_ = std::move(fingerprint);
  }
  // Length and ageing of the window the counts come from; for the reader, not used in computing.
  struct Window {
    double seconds = 0;
    double ageing_factor = 1;  // per window
    bool operator==(const Window&) const = default;
  };
  const Window& window() const { return window_; }
  void set_window(Window window) { window_ = window; }
  // 16 hex digits over shape, fingerprint and counts.
  std::string id() const;

  // JSON, with matrices as [row, column, count] triples. from_json refuses what is inconsistent.
  std::string to_json() const;
  static absl::StatusOr<RoutingProfile> from_json(std::string_view text, std::string_view source);
  // A path that ends in .safetensors is written as tensors (with samples), any other as JSON
  // (without).
  absl::Status save(const std::string& path, int mode = 0644) const;
  static absl::StatusOr<RoutingProfile> load(const std::string& path);

 private:
  size_t matrix(int32_t layer) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(shape_.experts) *
           static_cast<size_t>(shape_.experts);
  }
  absl::Status check_consistent(std::string_view source) const;
  absl::Status save_tensors(const std::string& path, int mode) const;
  static absl::StatusOr<RoutingProfile> load_tensors(const std::string& path);

  ProfileShape shape_;
  double tokens_ = 0;
  std::vector<double> loads_;        // [layers, E]
  std::vector<double> transitions_;  // [layers - 1, E, E]
  std::vector<double> pairs_;        // [layers, E, E]
  RoutingRows samples_;
  std::string model_fingerprint_;
  Window window_;
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_PROFILE_H_
