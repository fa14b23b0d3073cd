#ifndef CONCLAVE_COORDINATOR_PLACEMENT_PLACEMENT_STORE_H_
#define CONCLAVE_COORDINATOR_PLACEMENT_PLACEMENT_STORE_H_

// The placement table in force and the routing profile in a folder, for the coordinator that comes
// after this one: a restart, an upgrade, a successor.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::coordinator {

// What a saved table and profile must be made for. They change speed, never tokens (law 1), so what
// does not fit is left alone instead of ending a start.
struct PlacementIdentity {
  placement::ProfileShape shape;
  int32_t ranks = 0;
  std::string model_fingerprint;
  int32_t expert_slots = 0;  // per rank and layer; 0: as many as the table wants
};

// Files of mode 0600, written atomically. Belongs to one thread at a time.
class PlacementStore {
 public:
  // The folder is made (0700) by the first save.
  explicit PlacementStore(std::string folder) : folder_(std::move(folder)) {}

  // NOT_FOUND: nothing was saved; INVALID_ARGUMENT: what was saved is broken or of another model,
  // group or shape, in a sentence.
  absl::StatusOr<placement::PlacementTable> load_table(const PlacementIdentity& wanted) const;
  absl::StatusOr<placement::RoutingProfile> load_profile(const PlacementIdentity& wanted) const;

  // Writes what changed since the last call. Both must name their model.
  absl::Status save_table(const placement::PlacementTable& table);
  absl::Status save_profile(const placement::RoutingProfile& profile);

 private:
  std::string table_path() const { return folder_ + "/placement.json"; }
  std::string profile_path() const { return folder_ + "/routing_profile.safetensors"; }

  const std::string folder_;
  std::string saved_table_;    // its JSON
  std::string saved_profile_;  // its id
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_PLACEMENT_PLACEMENT_STORE_H_
