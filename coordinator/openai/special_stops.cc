#include "coordinator/openai/special_stops.h"

#include <algorithm>
#include <string>

namespace conclave::coordinator {
namespace {

std::optional<int32_t> special_id(const Tokenizer& tokenizer, const std::string& text) {
  const std::optional<int32_t> id = tokenizer.token_id(text);
  return id.has_value() && tokenizer.is_special(*id) ? id : std::nullopt;
}

}  // namespace

std::optional<ApiError> stop_at_special_tokens(const Tokenizer& tokenizer, int32_t vocab_size,
                                               GenerationFields* fields) {
  for (size_t i = 0; i < fields->stop.size(); ++i) {
    const std::string& stop = fields->stop[i];
    if (const auto id = special_id(tokenizer, stop)) {
      if (*id < vocab_size) fields->stop_token_ids.push_back(*id);
      continue;
    }
    if (!fields->skip_special_tokens) continue;
    const std::vector<int32_t> ids = tokenizer.encode(stop, /*add_special_tokens=*/false);
    const auto special = std::find_if(
        ids.begin(), ids.end(), [&tokenizer](int32_t id) { return tokenizer.is_special(id); });
    if (special == ids.end()) continue;
    return bad_request("'stop' holds the special token \"" + tokenizer.token_string(*special) +
                           "\" beside other text. Special tokens are left out of the text, so this "
                           "would never stop: give the token alone, or set skip_special_tokens to "
                           "false.",
                       fields->stop.size() == 1 ? "stop" : "stop[" + std::to_string(i) + "]",
                       "invalid_value");
  }
  return std::nullopt;
}

}  // namespace conclave::coordinator
