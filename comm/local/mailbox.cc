#include "comm/local/mailbox.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace conclave::comm {

void Mailbox::reserve(size_t max_bytes, int letters) {
  std::lock_guard lock(mutex_);
  const auto count = static_cast<size_t>(std::max(letters, 0));
  max_bytes_ = max_bytes;
  waiting_.reserve(std::max(count, waiting_.capacity()));
  spare_.reserve(std::max(count, spare_.capacity()));
  for (auto& letter : spare_) letter->bytes.reserve(max_bytes);
  while (spare_.size() < count) {
    spare_.push_back(std::make_unique<Letter>());
    spare_.back()->bytes.reserve(max_bytes);
  }
}

void Mailbox::put(int source, int tag, std::span<const std::byte> bytes) {
  std::unique_ptr<Letter> letter;
  {
    std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      letter = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (letter == nullptr) letter = std::make_unique<Letter>();
  letter->source = source;
  letter->tag = tag;
  letter->bytes.resize_for_overwrite(bytes.size());
  if (!bytes.empty()) std::memcpy(letter->bytes.data(), bytes.data(), bytes.size());
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(letter));
    news_ = true;
  }
  arrived_.notify_one();
}

std::unique_ptr<Mailbox::Letter> Mailbox::take(int tag) {
  std::lock_guard lock(mutex_);
  news_ = false;
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [tag](const auto& letter) { return letter->tag == tag; });
  if (found == waiting_.end()) return nullptr;
  std::unique_ptr<Letter> letter = std::move(*found);
  waiting_.erase(found);
  return letter;
}

void Mailbox::recycle(std::unique_ptr<Letter> letter) {
  std::lock_guard lock(mutex_);
  // Letters that came before reserve() are small; they grow here once.
  letter->bytes.reserve(max_bytes_);
  spare_.push_back(std::move(letter));
}

void Mailbox::wait(std::chrono::nanoseconds at_most) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, at_most, [this] { return news_; });
}

}  // namespace conclave::comm
