#ifndef CONCLAVE_COORDINATOR_OPENAI_REQUEST_FIELDS_H_
#define CONCLAVE_COORDINATOR_OPENAI_REQUEST_FIELDS_H_

// The one table of the fields that request bodies are known to hold: which are obeyed, which may be
// there without effect, which are refused. Names are those of OpenAI and, for extensions, of vLLM,
// SGLang, llama.cpp's server and Hugging Face. Validation and the table in docs/api.md come from
// here.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/openai/request_json.h"

namespace conclave::coordinator {

enum class Endpoint : uint8_t { kChat = 1, kCompletion = 2, kTokenize = 4, kDetokenize = 8 };
using EndpointSet = uint8_t;
inline constexpr EndpointSet kChatOnly = 1, kCompletionOnly = 2, kGeneration = 3, kTokenizeOnly = 4,
                             kChatTemplate = 1 | 4, kPrompts = 2 | 4, kTexts = 1 | 2 | 4,
                             kDetokenizeOnly = 8, kEverywhere = 15;

enum class FieldUse : uint8_t {
  kHonoured,
  kTemplate,  // honoured where the model's chat template reads it, refused elsewhere
  kNoEffect,  // cannot change the answer
  kRefused,   // would change the answer, and this server cannot obey
};

// Fields that are treated alike.
struct RequestFields {
  // Separated by blanks. "a.b" is b in the object a; "guided_*" stands for all names that begin so
  // and are not listed themselves.
  std::string_view names;
  EndpointSet endpoints;
  FieldUse use;
  // Honoured: what it does. No effect: why. Refused: a clause that says why, or what to do instead.
  std::string_view note;
  // Refused: a JSON array of values that ask for nothing and are let pass, as null always is.
  std::string_view neutral = {};
};

std::span<const RequestFields> request_fields();

// The row of that name (with its path: "stream_options.include_usage"); nullptr: unknown.
const RequestFields* find_request_field(Endpoint endpoint, std::string_view name);

// Whether a value asks for what the row refuses.
bool asks_for_refused(const RequestFields& row, const Json& value);
// "'best_of' must be 1 or left out: …". row.use is kRefused.
std::string refusal(const RequestFields& row, std::string_view name);
// "unsupported_parameter", or "unsupported_value" where another value would do.
const char* refusal_code(const RequestFields& row);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_REQUEST_FIELDS_H_
