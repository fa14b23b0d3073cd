#ifndef CONCLAVE_COORDINATOR_OPENAI_LOGPROB_STORE_H_
#define CONCLAVE_COORDINATOR_OPENAI_LOGPROB_STORE_H_

#include <cstdint>
#include <deque>
#include <span>

#include "coordinator/openai/logprobs_json.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

// The logprobs of an answer that is not streamed, packed: an answer may have millions, and as JSON
// or one vector a token they would take ten times as much. Not thread-safe.
class LogprobStore {
 private:
  struct Row {
    int64_t text_offset;
    uint64_t top_begin;
    int32_t token;
    float logprob;
    uint16_t top_count;
    bool has_logprob;
  };

 public:
  void append(std::span<const LogprobEntry> entries);
  size_t size() const { return rows_.size(); }
  LogprobEntry at(size_t index) const;
  // Of one token with so many alternatives.
  static constexpr size_t bytes_per_token(int32_t top) {
    return sizeof(Row) + static_cast<size_t>(top) * sizeof(protocol::TokenLogprob);
  }

 private:
  std::deque<Row> rows_;  // grows without a second copy of what is there
  std::deque<protocol::TokenLogprob> top_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_LOGPROB_STORE_H_
