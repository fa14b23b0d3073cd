#include "coordinator/placement/placement_store.h"

#include <sys/stat.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestTable = size_t{256} << 20;
constexpr int kOwnerOnly = 0600;

absl::Status make_folder(const std::string& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (error) {
    return absl::PermissionDeniedError(
        absl::StrCat(folder, ": cannot make the folder: ", error.message()));
  }
  if (made) ::chmod(folder.c_str(), 0700);
  return absl::OkStatus();
}

absl::Status of_file(const std::string& path, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", std::string(status.message())));
}

}  // namespace

absl::StatusOr<placement::PlacementTable> PlacementStore::load_table(
    const PlacementIdentity& wanted) const {
  const std::string path = table_path();
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kLongestTable));
  ASSIGN_OR_RETURN(placement::PlacementTable table,
                   placement::PlacementTable::from_json(text, path));
  const absl::Status fits = table.check_fits(wanted.shape.moe_layers, wanted.shape.experts,
                                             wanted.ranks, wanted.model_fingerprint);
  if (!fits.ok()) return of_file(path, fits);
  if (wanted.expert_slots > 0 && table.slots_per_rank() > wanted.expert_slots) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": a rank holds ", table.slots_per_rank(),
                                                   " experts of a layer, --expert-slots gives it ",
                                                   wanted.expert_slots));
  }
  return table;
}

absl::StatusOr<placement::RoutingProfile> PlacementStore::load_profile(
    const PlacementIdentity& wanted) const {
  const std::string path = profile_path();
  std::error_code error;
  if (!fs::exists(path, error)) return absl::NotFoundError(path + ": was not saved");
  ASSIGN_OR_RETURN(placement::RoutingProfile profile, placement::RoutingProfile::load(path));
  if (profile.model_fingerprint() != wanted.model_fingerprint || profile.shape() != wanted.shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the routing profile is of model ", profile.model_fingerprint(),
                     " with ", profile.layers(), " MoE layers of ", profile.experts(),
                     " experts, this is model ", wanted.model_fingerprint, " with ",
                     wanted.shape.moe_layers.size(), " of ", wanted.shape.experts));
  }
  return profile;
}

absl::Status PlacementStore::save_table(const placement::PlacementTable& table) {
  std::string text = table.to_json();
  if (text == saved_table_) return absl::OkStatus();
  RETURN_IF_ERROR(make_folder(folder_));
  RETURN_IF_ERROR(write_file_atomically(table_path(), text, kOwnerOnly));
  saved_table_ = std::move(text);
  return absl::OkStatus();
}

absl::Status PlacementStore::save_profile(const placement::RoutingProfile& profile) {
  if (profile.empty()) return absl::OkStatus();
  std::string id = profile.id();
  if (id == saved_profile_) return absl::OkStatus();
  RETURN_IF_ERROR(make_folder(folder_));
  RETURN_IF_ERROR(profile.save(profile_path(), kOwnerOnly));
  saved_profile_ = std::move(id);
  return absl::OkStatus();
}

}  // namespace conclave::coordinator
