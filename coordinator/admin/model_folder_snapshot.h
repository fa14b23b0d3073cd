#ifndef CONCLAVE_COORDINATOR_ADMIN_MODEL_FOLDER_SNAPSHOT_H_
#define CONCLAVE_COORDINATOR_ADMIN_MODEL_FOLDER_SNAPSHOT_H_

// What the files of a model were when they were loaded, to tell later whether a restart would find
// the same ones.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace conclave::coordinator {

// Why the next restart cannot load what runs now: sentences that begin with a path; all empty: it
// can.
struct ModelFolderFindings {
  std::vector<std::string> gone;     // the folder, or files that are missing or cannot be read
  std::vector<std::string> changed;  // other content than was loaded
  double silent_seconds = 0;         // > 0: the file system has not answered for so long
  bool operator==(const ModelFolderFindings&) const = default;
};

// A value. Taking and comparing read files and block for as long as the file system does.
class ModelFolderSnapshot {
 public:
  static ModelFolderSnapshot take(const std::string& folder);
  ModelFolderFindings compare() const;

 private:
  struct File {
    uint64_t device = 0, inode = 0, bytes = 0;
    int64_t modified_ns = 0, status_changed_ns = 0;
    // Of the whole of a short file, of the beginning of a long one.
    uint64_t content_hash = 0;
  };
  static int look_at(const std::string& path, File* file);  // errno
  void compare_file(const std::string& path, const File& before, ModelFolderFindings* out) const;

  std::string folder_;
  std::map<std::string, File> files_;  // by name
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_MODEL_FOLDER_SNAPSHOT_H_
