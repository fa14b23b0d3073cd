#ifndef CONCLAVE_COORDINATOR_ENGINE_RUN_FOLDER_H_
#define CONCLAVE_COORDINATOR_ENGINE_RUN_FOLDER_H_

// One folder for everything that a run leaves in a temporary place, so that nothing stays behind:
// it goes with its owner, and if that is killed, with the next run, which can tell that the owner
// is dead.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::coordinator {

class RunFolder {
 public:
  // Sweeps `base` (removes this user's run folders whose owners are dead), then makes a folder
  // there that only this user may enter.
  static absl::StatusOr<std::shared_ptr<RunFolder>> create(const std::string& base);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::string& path() const { return path_; }
  // An empty folder of this name inside; what it held before is gone.
  absl::StatusOr<std::string> fresh(const std::string& name);

 private:
  RunFolder(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  const std::string path_;
  const int lock_fd_;  // of the folder, locked for as long as this process lives
};

// $TMPDIR, or /tmp. INVALID_ARGUMENT with what to do if it is no folder that this user may write
// to.
absl::StatusOr<std::string> temporary_base();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_RUN_FOLDER_H_
