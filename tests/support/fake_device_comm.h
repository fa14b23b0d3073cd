#ifndef CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_COMM_H_
#define CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_COMM_H_

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/device_ops.h"

namespace conclave::device {

// Where the threads of a group meet. A rank that waits longer than the limit gets false, and so do
// all from then on.
class FakeMeeting {
 public:
  explicit FakeMeeting(int size) : size_(size) {}
  bool meet();
  void abort();
  bool broken();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int size_;
  int arrived_ = 0;
  int64_t round_ = 0;
  bool broken_ = false;
};

// The ranks' memory is one address space: a peer's buffer is its pointer.
struct Comm {
  int32_t rank = 0;
  int32_t size = 1;
  CommBootstrap bootstrap{};
  std::shared_ptr<FakeMeeting> meeting;  // one for all ranks
  struct Allocation {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes = 0;
    std::vector<std::byte*> of_rank;
  };
  std::vector<Allocation> allocations;
  const float* reducing = nullptr;  // what this rank contributes to the all-reduce under way
  std::vector<const Comm*> ranks;

  // The address that corresponds to `own` on another rank; null: not from comm_alloc.
  std::byte* of_peer(const void* own, int32_t peer) const;
};

Status fake_comm_create(const CommBootstrap* bootstrap, Comm** out);
void fake_comm_destroy(Comm* comm);
Status fake_comm_alloc(Comm* comm, size_t bytes, void** out);
// Collective; false when the meeting is broken.
bool fake_all_gather(Comm* comm, const GatherPart& part);
bool fake_all_reduce(Comm* comm, const float* send, float* recv, int64_t count);
bool fake_all_to_all(Comm* comm, const void* send, void* recv, int32_t rows_per_rank,
                     size_t row_bytes, const int32_t* rows, const int32_t* count);

}  // namespace conclave::device

#endif  // CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_COMM_H_
