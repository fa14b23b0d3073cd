#include "coordinator/http/api_keys.h"

#include <mutex>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/http/api_key_file.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {
namespace {

bool equal_in_constant_time(std::string_view secret, std::string_view guess) {
  uint32_t difference = secret.size() == guess.size() ? 0 : 1;
  for (size_t i = 0; i < secret.size(); ++i) {
    const char other = i < guess.size() ? guess[i] : '\0';
    difference |= static_cast<uint32_t>(static_cast<unsigned char>(secret[i]) ^
                                        static_cast<unsigned char>(other));
  }
  return difference == 0;
}

// The key behind "Bearer "; nothing if another scheme or none is there.
std::optional<std::string_view> bearer_token(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ", kSpace = " \t";
  if (!equals_ignoring_case(authorization.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  authorization.remove_prefix(kScheme.size());
  const size_t begin = authorization.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return std::nullopt;
  return authorization.substr(begin, authorization.find_last_not_of(kSpace) - begin + 1);
}

ApiError unauthorized(std::string message) {
  ApiError error = bad_request(std::move(message), std::nullopt, "invalid_api_key");
  error.status = 401;
  error.headers.push_back({"WWW-Authenticate", "Bearer"});
  return error;
}

}  // namespace

struct ApiKeys::Set {
  struct Entry {
    std::string secret;
    std::shared_ptr<const ApiKey> key;
  };
  std::vector<Entry> entries;
};

struct ApiKeys::Shared {
  std::mutex mutex;
  std::shared_ptr<const Set> set = std::make_shared<const Set>();
};

ApiKeys::ApiKeys() : shared_(std::make_shared<Shared>()) {}

absl::StatusOr<ApiKeys> ApiKeys::from_text(std::string_view text, std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<ApiKeyLine> lines, parse_api_key_lines(text, source));
  auto set = std::make_shared<Set>();
  for (ApiKeyLine& line : lines) {
    set->entries.push_back(
        {std::move(line.secret), std::make_shared<const ApiKey>(std::move(line.key))});
  }
  ApiKeys keys;
  keys.shared_->set = std::move(set);
  return keys;
}

absl::StatusOr<ApiKeys> ApiKeys::from_file(const std::string& path) {
  RETURN_IF_ERROR(check_api_key_file(path));
  ASSIGN_OR_RETURN(const std::string text, read_file(path, size_t{1} << 20));
  return from_text(text, path);
}

std::shared_ptr<const ApiKeys::Set> ApiKeys::set() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->set;
}

size_t ApiKeys::size() const { return set()->entries.size(); }

void ApiKeys::adopt(const ApiKeys& other) {
  std::shared_ptr<const Set> set = other.set();
  const std::lock_guard lock(shared_->mutex);
  shared_->set = std::move(set);
}

std::shared_ptr<const ApiKey> ApiKeys::find(std::string_view authorization) const {
  const auto token = bearer_token(authorization);
  if (!token) return nullptr;
  const std::shared_ptr<const Set> keys = set();
  std::shared_ptr<const ApiKey> found;
  for (const Set::Entry& entry : keys->entries) {
    if (equal_in_constant_time(entry.secret, *token)) found = entry.key;
  }
  return found;
}

std::optional<ApiError> ApiKeys::check(std::string_view authorization,
                                       std::shared_ptr<const ApiKey>* key) const {
  if (empty()) return std::nullopt;
  std::shared_ptr<const ApiKey> found = find(authorization);
  if (found == nullptr && !bearer_token(authorization)) {
    return unauthorized("An API key is needed: send the header \"Authorization: Bearer KEY\".");
  }
  if (found == nullptr) return unauthorized("The API key is not valid.");
  if (key != nullptr) *key = std::move(found);
  return std::nullopt;
}

}  // namespace conclave::coordinator
