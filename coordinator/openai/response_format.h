#ifndef CONCLAVE_COORDINATOR_OPENAI_RESPONSE_FORMAT_H_
#define CONCLAVE_COORDINATOR_OPENAI_RESPONSE_FORMAT_H_

// Response objects and server-sent events of the chat and the completions API, written as text:
// what is equal in all events of a stream is rendered once.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/http/error_response.h"

namespace conclave::coordinator {

struct ResponseIdentity {
  bool chat = true;
  std::string id;       // "chatcmpl-…" or "cmpl-…"
  int64_t created = 0;  // seconds since 1970
  std::string model;
  std::string system_fingerprint;
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
};

// A whole answer: head, its choices with commas between them, end. A choice: head, the JSON of its
// logprobs ("null" for none), end.
void append_answer_head(std::string* out, const ResponseIdentity& identity);
void append_choice_head(std::string* out, bool chat, size_t index, std::string_view text);
void append_choice_end(std::string* out, std::string_view finish_reason);
void append_answer_end(std::string* out, const Usage& usage);

class StreamFormat {
 public:
  StreamFormat(const ResponseIdentity& identity, bool include_usage);
  // Chat only: the first chunk of a choice.
  void append_role(std::string* out, int32_t choice) const;
  // logprobs: JSON, "null" for none.
  void append_text(std::string* out, int32_t choice, std::string_view text,
                   std::string_view logprobs) const;
  void append_finish(std::string* out, int32_t choice, std::string_view reason) const;
  // Nothing unless include_usage.
  void append_usage(std::string* out, const Usage& usage) const;
  static void append_error(std::string* out, const ApiError& error);
  static void append_done(std::string* out);

 private:
  const bool chat_;
  const bool include_usage_;
  std::string head_;         // data: {…,"choices":[
  std::string choice_head_;  // head_ and {"index":
  std::string text_key_;     // between index and text
  std::string tail_;         // from behind finish_reason's value to the event's end
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_RESPONSE_FORMAT_H_
