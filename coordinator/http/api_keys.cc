#include "coordinator/http/api_keys.h"

#include <cstdint>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool equal_in_constant_time(std::string_view secret, std::string_view guess) {
  uint32_t difference = secret.size() == guess.size() ? 0 : 1;
  for (size_t i = 0; i < secret.size(); ++i) {
    const char other = i < guess.size() ? guess[i] : '\0';
    difference |= static_cast<uint32_t>(static_cast<unsigned char>(secret[i]) ^
                                        static_cast<unsigned char>(other));
  }
  return difference == 0;
}

ApiError unauthorized(std::string message) {
  ApiError error = bad_request(std::move(message), std::nullopt, "invalid_api_key");
  error.status = 401;
  error.headers.push_back({"WWW-Authenticate", "Bearer"});
  return error;
}

}  // namespace

absl::StatusOr<ApiKeys> ApiKeys::from_text(std::string_view text, std::string_view source) {
  ApiKeys keys;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (!line.empty() && line.front() != '#') keys.keys_.emplace_back(line);
  }
  if (keys.empty()) {
    return absl::InvalidArgumentError(
        "the API key file " + std::string(source) +
        " holds no key; write one key a line, or serve without the file");
  }
  return keys;
}

absl::StatusOr<ApiKeys> ApiKeys::from_file(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, size_t{1} << 20));
  return from_text(text, path);
}

bool ApiKeys::accepts(std::string_view key) const {
  bool accepted = false;
  for (const std::string& secret : keys_) accepted |= equal_in_constant_time(secret, key);
  return accepted;
}

std::optional<ApiError> ApiKeys::check(std::string_view authorization) const {
  if (keys_.empty()) return std::nullopt;
  constexpr size_t kScheme = 7;  // "Bearer "
  if (authorization.size() <= kScheme ||
      !equals_ignoring_case(authorization.substr(0, kScheme), "bearer ")) {
    return unauthorized("An API key is needed: send the header \"Authorization: Bearer KEY\".");
  }
  if (!accepts(trim(authorization.substr(kScheme))))
    return unauthorized("The API key is not valid.");
  return std::nullopt;
}

}  // namespace conclave::coordinator
