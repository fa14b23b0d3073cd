#ifndef CONCLAVE_COORDINATOR_OPENAI_SERVING_CONTEXT_H_
#define CONCLAVE_COORDINATOR_OPENAI_SERVING_CONTEXT_H_

// What the endpoints need of the model that is served.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/chat_template/chat_template.h"
#include "coordinator/engine/engine.h"
#include "coordinator/openai/generation_session.h"
#include "coordinator/openai/requests.h"
#include "coordinator/openai/sampling_defaults.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

// Remembers texts, so that each is logged once. Thread-safe, bounded: when it is full, nothing is new.
class SeenTexts {
 public:
  bool note(const std::string& text) const;  // whether the text is new

 private:
  mutable std::mutex mutex_;
  mutable std::set<std::string> seen_;
};

// Names of request fields that nothing looks at, each logged once. Thread-safe, bounded.
class UnknownFieldLog {
 public:
  void note(const std::vector<std::string>& names);

 private:
  SeenTexts seen_;
};

struct ServingContext {
  Engine* engine = nullptr;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: the model has none
  std::string model_name;
  int32_t vocab_size = 0;  // ids below are valid
  SamplingDefaults defaults;
  SessionTiming timing;
  int64_t created = 0;  // seconds since 1970: when the server started
  std::string version;
  std::shared_ptr<std::atomic<int64_t>> last_token_ns = std::make_shared<std::atomic<int64_t>>(0);
  UnknownFieldLog unknown_fields;
  SeenTexts template_faults;
};

// "fp_<kernel set>_<compute>_<short model fingerprint>".
std::string system_fingerprint(const EngineStatus& status);
// 404 model_not_found for a name that is not served; an empty name is fine.
std::optional<ApiError> check_model(const ServingContext& context, const std::string& name);
// 400 for an id outside the vocabulary; param names the field.
std::optional<ApiError> check_token_ids(const ServingContext& context,
                                        const std::vector<int32_t>& ids, const std::string& param);
// 400 where text became a token that the model does not have (a tokenizer with more tokens than the model).
std::optional<ApiError> check_text_ids(const ServingContext& context,
                                       const std::vector<int32_t>& ids, const std::string& param);
// 400 for a field that only a chat template can obey, where the model's does not read it.
std::optional<ApiError> check_template_fields(const ServingContext& context,
                                              const ChatPrompt& prompt);
// The messages through the chat template, as token ids; errors also as encode_text().
std::optional<ApiError> encode_chat(const ServingContext& context, const ChatPrompt& prompt,
                                    const EncodeLimits& limits, std::vector<int32_t>* ids);
int64_t unix_seconds();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_SERVING_CONTEXT_H_
