#include "cli/submit/service_folder.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace conclave::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestScript = 1 << 20;

// The uppermost part of the path that is not there; "" if all of it is.
std::string first_absent(const fs::path& folder) {
  std::error_code ignored;
  fs::path absent;
  for (fs::path at = folder; !at.empty() && !fs::exists(fs::symlink_status(at, ignored));
       at = at.parent_path()) {
    absent = at;
  }
  return absent.string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServiceFolder>> ServiceFolder::create(const std::string& folder,
                                                                     std::string_view script) {
  std::unique_ptr<ServiceFolder> service(new ServiceFolder(folder));
  service->first_made_ = first_absent(folder);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return absl::PermissionDeniedError(
        absl::StrCat(folder, ": cannot create the folder of the service: ", error.message()));
  }
  absl::StatusOr<std::string> before = read_file(service->script_, kLongestScript);
  if (before.ok()) service->before_ = *std::move(before);
  RETURN_IF_ERROR(write_file_atomically(service->script_, script));
  service->wrote_ = true;
  return service;
}

ServiceFolder::~ServiceFolder() {
  if (kept_) return;
  std::error_code ignored;
  if (wrote_ && before_) {
    (void)write_file_atomically(script_, *before_);
  } else if (wrote_) {
    fs::remove(script_, ignored);
  }
  if (first_made_.empty()) return;
  // Only what is empty goes: somebody else may have begun to use a folder that we made.
  for (fs::path at = fs::path(script_).parent_path();; at = at.parent_path()) {
    fs::remove(at, ignored);
    if (at == fs::path(first_made_) || !at.has_relative_path()) return;
  }
}

}  // namespace conclave::cli
