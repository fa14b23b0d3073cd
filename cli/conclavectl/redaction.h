#ifndef CONCLAVE_CLI_CONCLAVECTL_REDACTION_H_
#define CONCLAVE_CLI_CONCLAVECTL_REDACTION_H_

#include <string>
#include <string_view>
#include <vector>

#include "cli/conclavectl/session.h"

namespace conclave::ctl {

// Takes out of texts what nobody else shall see: keys, and where keys and secrets are. A value.
class Redaction {
 public:
  // settings: flag names and values of the coordinator; own_key: of this program, "" if none.
  Redaction(const Json& settings, const std::string& own_key);

  // Known secrets, what stands behind a flag that names a key or secret, and words that look like
  // keys of an API, each as "(set)".
  std::string clean(std::string text) const;

 private:
  std::vector<std::string> secrets_;  // longest first
};

// "admin-key-file", "secret-file"; not "max-step-tokens".
bool is_sensitive_setting(std::string_view name);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_REDACTION_H_
