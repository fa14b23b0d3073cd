#include "coordinator/openai/logprob_store.h"

namespace conclave::coordinator {

void LogprobStore::append(std::span<const LogprobEntry> entries) {
  for (const LogprobEntry& entry : entries) {
    rows_.push_back({entry.text_offset, top_.size(), entry.token, entry.logprob.value_or(0),
                     static_cast<uint16_t>(entry.top.size()), entry.logprob.has_value()});
    top_.insert(top_.end(), entry.top.begin(), entry.top.end());
  }
}

LogprobEntry LogprobStore::at(size_t index) const {
  const Row& row = rows_[index];
  LogprobEntry entry;
  entry.token = row.token;
  if (row.has_logprob) entry.logprob = row.logprob;
  entry.text_offset = row.text_offset;
  const auto begin = top_.begin() + static_cast<std::ptrdiff_t>(row.top_begin);
  entry.top.assign(begin, begin + row.top_count);
  return entry;
}

}  // namespace conclave::coordinator
