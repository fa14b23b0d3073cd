#ifndef CONCLAVE_COORDINATOR_ADMIN_MODEL_FOLDER_WATCH_H_
#define CONCLAVE_COORDINATOR_ADMIN_MODEL_FOLDER_WATCH_H_

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "coordinator/admin/model_folder_snapshot.h"

namespace conclave::coordinator {

// Looks at the model's files on a thread of its own, since a file system may never answer: every so
// often, saying in the log what it finds, and when somebody asks. Thread-safe.
class ModelFolderWatch {
 public:
  // What the folder holds now counts as what was loaded; reads it on the calling thread.
  explicit ModelFolderWatch(const std::string& folder,
                            std::chrono::milliseconds period = std::chrono::seconds(10));
  ~ModelFolderWatch();
  ModelFolderWatch(const ModelFolderWatch&) = delete;
  ModelFolderWatch& operator=(const ModelFolderWatch&) = delete;

  // Of a look that begins now. If it takes longer than `patience`: what the last one found, with
  // silent_seconds.
  ModelFolderFindings look(std::chrono::milliseconds patience) const;
  // What the last look found; waits for nothing.
  ModelFolderFindings last() const;

 private:
  struct State;
  // Outlives this object while a look hangs.
  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_MODEL_FOLDER_WATCH_H_
