#ifndef CONCLAVE_COMM_LOCAL_MAILBOX_H_
#define CONCLAVE_COMM_LOCAL_MAILBOX_H_

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "comm/collectives/byte_buffer.h"

namespace conclave::comm {

// What has been sent to one rank of a local group and not yet been read. Messages are copied in, so
// a sender never depends on when (or whether) the receiver reads. Thread-safe.
class Mailbox {
 public:
  struct Letter {
    int source = -1;
    int tag = -1;
    ByteBuffer bytes;
  };

  // Keeps at least `letters` spare letters with room for max_bytes each.
  void reserve(size_t max_bytes, int letters);
  void put(int source, int tag, std::span<const std::byte> bytes);
  // The oldest letter with this tag, or null. Give it back with recycle().
  std::unique_ptr<Letter> take(int tag);
  void recycle(std::unique_ptr<Letter> letter);
  // Returns early when something arrives, or has arrived since the last take().
  void wait(std::chrono::nanoseconds at_most);

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::unique_ptr<Letter>> waiting_;  // oldest first
  std::vector<std::unique_ptr<Letter>> spare_;
  size_t max_bytes_ = 0;
  bool news_ = false;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_LOCAL_MAILBOX_H_
