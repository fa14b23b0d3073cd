#ifndef CONCLAVE_COORDINATOR_OPENAI_ENCODE_TEXT_H_
#define CONCLAVE_COORDINATOR_OPENAI_ENCODE_TEXT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/http/error_response.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

// What a request's text becomes, within limits.max_tokens. Beyond: 400 context_length_exceeded with
// a sentence that says bytes, tokens and the limit. Cancelled: an error that nobody will read.
std::optional<ApiError> encode_text(const Tokenizer& tokenizer, std::string_view text,
                                    bool add_special_tokens, const EncodeLimits& limits,
                                    const std::string& param, std::vector<int32_t>* ids);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_ENCODE_TEXT_H_
