#ifndef CONCLAVE_COORDINATOR_ADMIN_DOCUMENT_FOLDER_H_
#define CONCLAVE_COORDINATOR_ADMIN_DOCUMENT_FOLDER_H_

// Where the coordinator keeps documents that clients ask it to save. Clients name documents, never
// paths: nothing they send can reach another file.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::coordinator {

// Thread-safe. Blocks on the disk.
class DocumentFolder {
 public:
  // path: "" if there is none; then every call says so. Nothing is made yet.
  explicit DocumentFolder(std::string path) : path_(std::move(path)) {}
  // "documents" in that folder, or if it is "" in $XDG_STATE_HOME/conclave or
  // ~/.local/state/conclave; "" without a home.
  static std::string path_below(const std::string& state_folder);

  const std::string& path() const { return path_; }
  // Makes the folder with mode 0700 if it is not there. FAILED_PRECONDITION for what is no folder
  // of this user's, or one that others may write to.
  absl::Status prepare() const;

  // name: 1 to 100 letters, digits, '-', '_' and '.', not first a '.'; INVALID_ARGUMENT otherwise.
  // write(path) writes a new file in the folder, with name's ending; it then takes name's place, as
  // a whole and with mode 0600. The path of the document.
  absl::StatusOr<std::string> save(
      const std::string& name, const std::function<absl::Status(const std::string&)>& write) const;
  // The path of a document that is there: a regular file, not a link. NOT_FOUND.
  absl::StatusOr<std::string> find(const std::string& name) const;

 private:
  const std::string path_;
  mutable std::atomic<uint64_t> saved_{0};  // tells apart what is written at the same time
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_DOCUMENT_FOLDER_H_
