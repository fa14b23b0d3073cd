#ifndef CONCLAVE_COORDINATOR_HTTP_API_KEYS_H_
#define CONCLAVE_COORDINATOR_HTTP_API_KEYS_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/http/api_key.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {

// The keys that open a listener. A handle: copies share one set, so that adopt() on one changes
// what all of them ask. Any thread.
class ApiKeys {
 public:
  ApiKeys();  // no keys: everything is open

  // A line is a key and its settings, apart by blanks: KEY [name=NAME] [weight=W]
  // [best_priority=P]. Without a name the key is called by its line: key-3. Blank lines, lines that
  // begin with # and words from one that begins with # on do not count. INVALID_ARGUMENT, naming
  // source and line: a setting that is unknown, malformed or given twice, a key or name that is
  // there already, or no key at all.
  static absl::StatusOr<ApiKeys> from_text(std::string_view text, std::string_view source);
  // PERMISSION_DENIED if anyone but its owner may write the file: who can add a line has a key.
  static absl::StatusOr<ApiKeys> from_file(const std::string& path);

  bool empty() const { return size() == 0; }
  size_t size() const;
  // authorization: the header's value, "Bearer KEY". Null if it is missing or wrong. Looks at every
  // key and every byte whatever matches, so that the time taken tells nothing about them.
  std::shared_ptr<const ApiKey> find(std::string_view authorization) const;
  // The 401 to answer, if any; otherwise *key is what find() gives (null if there are no keys).
  std::optional<ApiError> check(std::string_view authorization,
                                std::shared_ptr<const ApiKey>* key = nullptr) const;
  // From now on this handle and its copies have other's keys. Requests that came in with one that
  // is there no more go on.
  void adopt(const ApiKeys& other);

 private:
  struct Set;
  struct Shared;
  std::shared_ptr<const Set> set() const;
  std::shared_ptr<Shared> shared_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_API_KEYS_H_
