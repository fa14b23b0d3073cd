#ifndef CONCLAVE_COORDINATOR_OPENAI_TEXT_QUEUE_H_
#define CONCLAVE_COORDINATOR_OPENAI_TEXT_QUEUE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace conclave::coordinator {

// A text that waits to be read.
struct TextJob {
  std::string client;  // whose it is: texts of different clients share the threads by their bytes
  size_t bytes = 0;
  std::shared_ptr<const std::atomic<bool>> gone;  // the client does not wait any more; never null
  std::function<void()> work;
};

struct TextQueueLimits {
  size_t jobs = 128;
  size_t bytes = size_t{64} << 20;
};

// Which text is read next: self-clocked fair queueing by bytes, so that a short text does not wait
// for long ones, one client's texts do not wait for another's, and nobody waits for ever. A client
// may hold half of the queue. No threads, no clock; not thread-safe.
// Source: Golestani, "A Self-Clocked Fair Queueing Scheme for Broadband Applications", INFOCOM
// 1994.
class TextQueue {
 public:
  // Beyond, a text takes long enough for others to mind (see TextWorkers).
  static constexpr size_t kLongBytes = size_t{512} << 10;
  static bool is_long(const TextJob& job) { return job.bytes > kLongBytes; }

  explicit TextQueue(TextQueueLimits limits = {}) : limits_(limits) {}
  // False, and nothing happens, where it would be too much. An empty queue takes any job.
  bool push(TextJob job);
  // may_take: asked of jobs in order. nullopt: none may be taken.
  std::optional<TextJob> pop(const std::function<bool(const TextJob&)>& may_take);
  size_t size() const { return waiting_.size(); }
  size_t bytes() const { return bytes_; }
  std::vector<TextJob> take_all();

 private:
  struct Waiting {
    TextJob job;
    uint64_t finish;  // virtual bytes: when an equal share of the threads would be through with it
  };
  bool has_room(const TextJob& job) const;
  void drop_gone();
  void remove(size_t index);

  const TextQueueLimits limits_;
  std::vector<Waiting> waiting_;                      // by finish, then by arrival
  std::map<std::string, uint64_t> finish_of_client_;  // beyond now_
  uint64_t now_ = 0;                                  // finish of the job that was taken last
  size_t bytes_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_TEXT_QUEUE_H_
