#ifndef CONCLAVE_COORDINATOR_OPENAI_REQUESTS_H_
#define CONCLAVE_COORDINATOR_OPENAI_REQUESTS_H_

// Request bodies as structures. Parsing is pure: text in, structure or error out; what depends on
// the model (its name, vocabulary, context length) is checked later.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/openai/request_fields.h"
#include "coordinator/openai/request_json.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

inline constexpr int32_t kMaxChoices = 128;  // n, and n times the number of prompts
inline constexpr int32_t kMaxTopLogprobs = 20;
inline constexpr size_t kMaxStopStrings = 4;
inline constexpr size_t kMaxStopStringBytes = 1024;
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr size_t kMaxStopTokenIds = 256;
inline constexpr size_t kMaxAnswerBytes = size_t{128} << 20;  // that an answer may take in memory
inline constexpr size_t kMaxTokenizedTokens = size_t{1} << 20;   // of /tokenize
inline constexpr size_t kMaxDetokenizedBytes = size_t{16} << 20;  // of /detokenize

// Fields that the request left out stay empty: the model's defaults apply.
struct SamplingFields {
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k;  // 0: off
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::optional<uint64_t> seed;
  std::vector<protocol::TokenBias> bias;
};

// What chat and completion requests share.
struct GenerationFields {
  std::string model;  // "": the one that is served
  SamplingFields sampling;
  int32_t n = 1;
  std::optional<int32_t> max_tokens;
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  int32_t top_logprobs = -1;  // -1: no logprobs
  bool stream = false;
  bool include_usage = false;
  bool skip_special_tokens = true;
  bool include_stop_str_in_output = false;
  bool return_tokens_as_token_ids = false;
  int32_t priority = 0;
  std::vector<std::string> unknown;  // names of fields that nothing looks at
};

// What a prompt is made of when a chat template writes it.
struct ChatPrompt {
  Json messages;  // as sent, but content is a string
  std::map<size_t, Json> content_parts;  // by message: the text parts of a content sent as a list
  bool add_generation_prompt = true;
  bool add_special_tokens = false;  // the template writes them itself
  std::optional<std::string> reasoning_effort;
  Json template_arguments = Json::object();
};

struct ChatRequest {
  GenerationFields fields;
  ChatPrompt prompt;
};

using TextOrTokens = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationFields fields;
  std::vector<TextOrTokens> prompts;
  bool echo = false;
  bool add_special_tokens = true;
};

struct TokenizeRequest {
  std::string model;  // "": any
  std::optional<std::string> prompt;
  ChatPrompt chat;                 // if there is no prompt
  bool add_special_tokens = true;  // of prompt
  bool return_token_strs = false;
  std::vector<std::string> unknown;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
  bool skip_special_tokens = false;
  std::vector<std::string> unknown;
};

std::optional<ApiError> parse_chat_request(std::string_view body, ChatRequest* request);
std::optional<ApiError> parse_completion_request(std::string_view body, CompletionRequest* request);
std::optional<ApiError> parse_tokenize_request(std::string_view body, TokenizeRequest* request);
std::optional<ApiError> parse_detokenize_request(std::string_view body, DetokenizeRequest* request);

class FieldReader;
// Shared by the parsers above; errors stay in the reader.
void read_generation_fields(FieldReader& reader, Endpoint endpoint, GenerationFields* fields);
void read_chat_prompt(FieldReader& reader, ChatPrompt* prompt);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_REQUESTS_H_
