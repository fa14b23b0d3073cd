// JSON text to each of the request structures: every parser gets every input.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "coordinator/http/error_response.h"
#include "coordinator/openai/requests.h"

namespace {

using conclave::coordinator::ApiError;

void check(const std::optional<ApiError>& error) {
  // An error is always a client's error that says something, and renders.
  if (error.has_value() &&
      (error->status != 400 || error->message.empty() || error_json(*error).empty()))
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave::coordinator;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ChatRequest chat;
  check(parse_chat_request(text, &chat));
  CompletionRequest completion;
  check(parse_completion_request(text, &completion));
  TokenizeRequest tokenize;
  check(parse_tokenize_request(text, &tokenize));
  DetokenizeRequest detokenize;
  check(parse_detokenize_request(text, &detokenize));
  return 0;
}
