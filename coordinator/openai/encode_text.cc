#include "coordinator/openai/encode_text.h"

#include <utility>

namespace conclave::coordinator {

std::optional<ApiError> encode_text(const Tokenizer& tokenizer, std::string_view text,
                                    bool add_special_tokens, const EncodeLimits& limits,
                                    const std::string& param, std::vector<int32_t>* ids) {
  BoundedEncoding encoding = tokenizer.encode_within(text, add_special_tokens, limits);
  if (encoding.end == BoundedEncoding::End::kComplete) {
    *ids = std::move(encoding.ids);
    return std::nullopt;
  }
  if (encoding.end == BoundedEncoding::End::kTooLong) {
    return bad_request("At most " + std::to_string(limits.max_tokens) + " tokens fit, but the " +
                           std::to_string(text.size()) + " bytes of '" + param + "' make " +
                           std::to_string(encoding.at_least) + " or more; shorten the text.",
                       param, "context_length_exceeded");
  }
  ApiError gone = bad_request("The client closed the connection.", std::nullopt, "cancelled");
  gone.status = 499;
  return gone;
}

}  // namespace conclave::coordinator
