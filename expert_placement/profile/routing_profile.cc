#include "expert_placement/profile/routing_profile.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::placement {
namespace {

constexpr int64_t kMaxEntries = int64_t{1} << 31;

// FNV-1a over words with a final mix: a name, not a secret.
class Hash {
 public:
  void add(uint64_t value) {
    state_ = (state_ ^ value) * 0x100000001b3ull;
    state_ ^= state_ >> 29;
  }
  void add(double value) { add(std::bit_cast<uint64_t>(value)); }
  uint64_t value() const {
    const uint64_t x = (state_ ^ (state_ >> 31)) * 0xbf58476d1ce4e5b9ull;
    return x ^ (x >> 29);
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325ull;
};

}  // namespace

absl::StatusOr<RoutingProfile> RoutingProfile::create(ProfileShape shape) {
  const auto layers = static_cast<int64_t>(shape.moe_layers.size());
  if (layers < 1 || shape.experts < 1 || shape.experts > 65535 || shape.top_k < 1 ||
      shape.top_k > shape.experts || layers * shape.experts > kMaxEntries / shape.experts) {
    return absl::InvalidArgumentError(absl::StrCat("a routing profile of ", layers, " MoE layers, ",
                                                   shape.experts, " experts and top-", shape.top_k,
                                                   " cannot be"));
  }
  RoutingProfile profile;
  const auto experts = static_cast<size_t>(shape.experts);
  const auto count = static_cast<size_t>(layers);
  profile.loads_.assign(count * experts, 0);
  profile.transitions_.assign((count - 1) * experts * experts, 0);
  profile.pairs_.assign(count * experts * experts, 0);
  profile.samples_ = RoutingRows{static_cast<int32_t>(layers), shape.experts, shape.top_k, {}, {}};
  profile.shape_ = std::move(shape);
  return profile;
}

absl::StatusOr<RoutingProfile> RoutingProfile::from_rows(const RoutingRows& rows,
                                                         std::vector<int32_t> moe_layers,
                                                         int64_t max_samples) {
  if (static_cast<int32_t>(moe_layers.size()) != rows.layers) {
    return absl::InvalidArgumentError(absl::StrCat("the routing rows have ", rows.layers,
                                                   " MoE layers, the model ", moe_layers.size()));
  }
  ASSIGN_OR_RETURN(RoutingProfile profile,
                   create({std::move(moe_layers), rows.experts, rows.top_k}));
  const size_t width = static_cast<size_t>(rows.layers) * static_cast<size_t>(rows.top_k);
  for (size_t row = 0; row < rows.sequence.size(); ++row) {
    profile.add_row(std::span(rows.chosen).subspan(row * width, width));
  }
  profile.samples_ = thin_rows(rows, max_samples);
  return profile;
}

std::span<const double> RoutingProfile::loads(int32_t layer) const {
  const auto experts = static_cast<size_t>(shape_.experts);
  return std::span(loads_).subspan(static_cast<size_t>(layer) * experts, experts);
}

std::span<const double> RoutingProfile::transitions(int32_t layer) const {
  return std::span(transitions_).subspan(matrix(layer), matrix(1));
}

std::span<const double> RoutingProfile::pairs(int32_t layer) const {
  return std::span(pairs_).subspan(matrix(layer), matrix(1));
}

void RoutingProfile::add_row(std::span<const uint16_t> chosen) {
  const auto k = static_cast<size_t>(shape_.top_k);
  add_tokens(1);
  for (int32_t layer = 0; layer < layers(); ++layer) {
    const auto here = chosen.subspan(static_cast<size_t>(layer) * k, k);
    for (size_t a = 0; a < k; ++a) {
      add_load(layer, here[a], 1);
      for (size_t b = a + 1; b < k; ++b) add_pair(layer, here[a], here[b], 1);
    }
    if (layer + 1 < layers())
      add_transition(layer, here[0], chosen[(static_cast<size_t>(layer) + 1) * k], 1);
  }
}

void RoutingProfile::add_load(int32_t layer, int32_t expert, double n) {
  loads_[static_cast<size_t>(layer) * static_cast<size_t>(shape_.experts) +
         static_cast<size_t>(expert)] += n;
}

void RoutingProfile::add_transition(int32_t layer, int32_t from, int32_t to, double n) {
  transitions_[matrix(layer) + static_cast<size_t>(from) * static_cast<size_t>(shape_.experts) +
               static_cast<size_t>(to)] += n;
}

void RoutingProfile::add_pair(int32_t layer, int32_t a, int32_t b, double n) {
  const auto experts = static_cast<size_t>(shape_.experts);
  pairs_[matrix(layer) + static_cast<size_t>(a) * experts + static_cast<size_t>(b)] += n;
  pairs_[matrix(layer) + static_cast<size_t>(b) * experts + static_cast<size_t>(a)] += n;
}

absl::Status RoutingProfile::add(const RoutingProfile& other) {
  if (!(shape_ == other.shape_)) {
    return absl::InvalidArgumentError("two routing profiles of different shape cannot be added");
  }
  if (!model_fingerprint_.empty() && !other.model_fingerprint_.empty() &&
      model_fingerprint_ != other.model_fingerprint_) {
    return absl::InvalidArgumentError(absl::StrCat("routing profiles of models ",
                                                   model_fingerprint_, " and ",
                                                   other.model_fingerprint_, " cannot be added"));
  }
  const auto sum = [](std::vector<double>* to, const std::vector<double>& from) {
    std::transform(from.begin(), from.end(), to->begin(), to->begin(), std::plus<>());
  };
  sum(&loads_, other.loads_);
  sum(&transitions_, other.transitions_);
  sum(&pairs_, other.pairs_);
  tokens_ += other.tokens_;
  window_.seconds += other.window_.seconds;
  if (other.samples_.rows() > samples_.rows()) samples_ = other.samples_;
  if (model_fingerprint_.empty()) model_fingerprint_ = other.model_fingerprint_;
  return absl::OkStatus();
}

void RoutingProfile::age(double factor) {
  for (std::vector<double>* counts : {&loads_, &transitions_, &pairs_}) {
    for (double& count : *counts) count *= factor;
  }
  tokens_ *= factor;
}

std::string RoutingProfile::id() const {
  Hash hash;
  for (int32_t layer : shape_.moe_layers) hash.add(static_cast<uint64_t>(layer));
  hash.add(static_cast<uint64_t>(shape_.experts));
  hash.add(static_cast<uint64_t>(shape_.top_k));
  for (char c : model_fingerprint_) hash.add(static_cast<uint64_t>(static_cast<unsigned char>(c)));
  hash.add(tokens_);
  for (const std::vector<double>* counts : {&loads_, &transitions_, &pairs_}) {
    for (double count : *counts) hash.add(count);
  }
  return absl::StrCat(absl::Hex(hash.value(), absl::kZeroPad16));
}

absl::Status RoutingProfile::check_consistent(std::string_view source) const {
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(source), ": ", what, "; the routing profile is damaged"));
  };
  for (const std::vector<double>* counts : {&loads_, &transitions_, &pairs_}) {
    for (double count : *counts) {
      if (!(count >= 0) || !std::isfinite(count)) return bad("a count is negative or not a number");
    }
  }
  if (!(tokens_ >= 0) || !std::isfinite(tokens_))
    return bad("\"tokens\" is negative or not a number");
  const double tolerance = 1e-6 * tokens_ + 1e-9;
  for (int32_t layer = 0; layer < layers(); ++layer) {
    double total = 0;
    for (double load : loads(layer)) total += load;
    if (std::abs(total - tokens_ * shape_.top_k) > tolerance * shape_.top_k) {
      return bad(absl::StrCat("the loads of layer ", layer, " do not add up to tokens x top_k"));
    }
    if (layer + 1 == layers()) continue;
    total = 0;
    for (double count : transitions(layer)) total += count;
    if (total > tokens_ + tolerance) {
      return bad(absl::StrCat("layer ", layer, " has more transitions than tokens"));
    }
  }
  return absl::OkStatus();
}

}  // namespace conclave::placement
