#include "coordinator/openai/text_queue.h"

#include <algorithm>
#include <utility>

namespace conclave::coordinator {

bool TextQueue::has_room(const TextJob& job) const {
  if (waiting_.empty()) return true;
  if (waiting_.size() >= limits_.jobs || bytes_ + job.bytes > limits_.bytes) return false;
  size_t jobs = 0, bytes = job.bytes;
  for (const Waiting& waiting : waiting_) {
    if (waiting.job.client != job.client) continue;
    ++jobs;
    bytes += waiting.job.bytes;
  }
  return jobs == 0 || (jobs < limits_.jobs / 2 && bytes <= limits_.bytes / 2);
}

void TextQueue::remove(size_t index) {
  bytes_ -= waiting_[index].job.bytes;
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
}

void TextQueue::drop_gone() {
  for (size_t i = waiting_.size(); i-- > 0;) {
    if (*waiting_[i].job.gone) remove(i);
  }
}

bool TextQueue::push(TextJob job) {
  if (!has_room(job)) drop_gone();
  if (!has_room(job)) return false;
  uint64_t& last = finish_of_client_[job.client];
  last = std::max(now_, last) + job.bytes;
  bytes_ += job.bytes;
  const auto behind = std::upper_bound(
      waiting_.begin(), waiting_.end(), last,
      [](uint64_t finish, const Waiting& waiting) { return finish < waiting.finish; });
  waiting_.insert(behind, {std::move(job), last});
  return true;
}

std::optional<TextJob> TextQueue::pop(const std::function<bool(const TextJob&)>& may_take) {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const Waiting& waiting) { return may_take(waiting.job); });
  if (found == waiting_.end()) return std::nullopt;
  now_ = std::max(now_, found->finish);
  std::erase_if(finish_of_client_, [this](const auto& client) { return client.second <= now_; });
  TextJob job = std::move(found->job);
  bytes_ -= job.bytes;
  waiting_.erase(found);
  // With nobody waiting there is no past to be fair about.
  if (waiting_.empty()) finish_of_client_.clear();
  return job;
}

std::vector<TextJob> TextQueue::take_all() {
  std::vector<TextJob> jobs;
  for (Waiting& waiting : waiting_) jobs.push_back(std::move(waiting.job));
  waiting_.clear();
  bytes_ = 0;
  return jobs;
}

}  // namespace conclave::coordinator
