#ifndef CONCLAVE_COORDINATOR_PLACEMENT_PROFILE_WINDOW_H_
#define CONCLAVE_COORDINATOR_PLACEMENT_PROFILE_WINDOW_H_

// The routing profile of a running cluster: what ranks report, aged exponentially, with the newest
// whole rows as samples. Not thread-safe.

#include <chrono>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/table/placement_table.h"
#include "protocol/routing_counts.h"

namespace conclave::coordinator {

class ProfileWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Options {
    placement::ProfileShape shape;
    double half_life_seconds = 600;  // after so long a count weighs half
    int64_t max_samples = 16384;
  };
  static absl::StatusOr<ProfileWindow> create(const Options& options, Time now);

  // INVALID_ARGUMENT: indices that the model does not have; nothing is added then.
  absl::Status add(const protocol::RoutingCounts& counts, Time now);
  void set_fingerprint(const std::string& fingerprint) {
    profile_.set_model_fingerprint(fingerprint);
  }
  void clear(Time now);
  // Counts and samples of another profile instead of these. INVALID_ARGUMENT: of another shape;
  // nothing is changed then.
  absl::Status replace(const placement::RoutingProfile& profile, Time now);

  // A copy, with samples.
  placement::RoutingProfile snapshot() const;
  const placement::RoutingProfile& profile() const { return profile_; }

 private:
  ProfileWindow(const Options& options, placement::RoutingProfile profile, Time now)
      : options_(options), profile_(std::move(profile)), aged_at_(now) {}
  absl::Status check(const protocol::RoutingCounts& counts) const;
  void age(Time now);
  void keep_samples(const protocol::RoutingCounts& counts);

  Options options_;
  placement::RoutingProfile profile_;
  placement::RoutingRows samples_;
  Time aged_at_;
};

// [layers] max / mean expert rows of the ranks; a replicated expert's rows are shared evenly.
std::vector<double> rank_balance(const placement::RoutingProfile& profile,
                                 const placement::PlacementTable& table);
// Share of leading-expert transitions between experts that no rank holds together.
double leader_crossings(const placement::RoutingProfile& profile,
                        const placement::PlacementTable& table);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_PLACEMENT_PROFILE_WINDOW_H_
