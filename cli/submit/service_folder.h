#ifndef CONCLAVE_CLI_SUBMIT_SERVICE_FOLDER_H_
#define CONCLAVE_CLI_SUBMIT_SERVICE_FOLDER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::cli {

// The folder of a service with the script to be submitted, FOLDER/job.sbatch. Until keep() is
// called all of it is on trial: the destructor takes away what was made and puts an earlier script
// back, so that a refused job leaves nothing behind. Belongs to one thread.
class ServiceFolder {
 public:
  // PERMISSION_DENIED and the like, with nothing left behind, if folder or script cannot be
  // written.
  static absl::StatusOr<std::unique_ptr<ServiceFolder>> create(const std::string& folder,
                                                               std::string_view script);
  ~ServiceFolder();
  ServiceFolder(const ServiceFolder&) = delete;
  ServiceFolder& operator=(const ServiceFolder&) = delete;

  const std::string& script_path() const { return script_; }
  void keep() { kept_ = true; }

 private:
  explicit ServiceFolder(const std::string& folder) : script_(folder + "/job.sbatch") {}

  const std::string script_;
  std::string first_made_;             // the uppermost folder that was not there; "" if none
  std::optional<std::string> before_;  // the script of an earlier submit
  bool wrote_ = false;
  bool kept_ = false;
};

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SUBMIT_SERVICE_FOLDER_H_
