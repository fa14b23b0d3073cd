#ifndef CONCLAVE_COORDINATOR_HTTP_BODY_BUDGET_H_
#define CONCLAVE_COORDINATOR_HTTP_BODY_BUDGET_H_

// What the request bodies of all connections of a server may take together.

#include <atomic>
#include <cstddef>
#include <memory>

namespace conclave::coordinator {

// Thread-safe.
class BodyBudget {
 public:
  explicit BodyBudget(size_t limit_bytes) : limit_(limit_bytes) {}
  bool has_room(size_t bytes) const {
    const size_t used = used_.load(std::memory_order_relaxed);
    return used <= limit_ && bytes <= limit_ - used;
  }
  bool take(size_t bytes);
  void give_back(size_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  size_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

// What one body has taken of it; given back with the share. Not thread-safe, except that any thread
// may destroy it.
class BodyShare {
 public:
  explicit BodyShare(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  ~BodyShare() { budget_->give_back(bytes_); }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  // False, and nothing taken, if that much is not left.
  bool grow_to(size_t bytes);

 private:
  const std::shared_ptr<BodyBudget> budget_;
  size_t bytes_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_BODY_BUDGET_H_
