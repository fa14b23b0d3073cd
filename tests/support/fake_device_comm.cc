#include "tests/support/fake_device_comm.h"

#include <chrono>
#include <cstring>

namespace conclave::device {
namespace {
constexpr std::chrono::seconds kMeetingLimit{60};
}

bool FakeMeeting::meet() {
  std::unique_lock lock(mutex_);
  const int64_t round = round_;
  if (++arrived_ == size_) {
    arrived_ = 0;
    ++round_;
    changed_.notify_all();
    return !broken_;
  }
  const bool met =
      changed_.wait_for(lock, kMeetingLimit, [&] { return round_ != round || broken_; });
  if (!met) broken_ = true;
  if (broken_) changed_.notify_all();
  return !broken_;
}

void FakeMeeting::abort() {
  std::lock_guard lock(mutex_);
  broken_ = true;
  changed_.notify_all();
}

bool FakeMeeting::broken() {
  std::lock_guard lock(mutex_);
  return broken_;
}

std::byte* Comm::of_peer(const void* address, int32_t peer) const {
  const auto* wanted = static_cast<const std::byte*>(address);
  for (const Allocation& allocation : allocations) {
    const std::byte* begin = allocation.memory.get();
    if (wanted < begin || wanted >= begin + allocation.bytes) continue;
    return allocation.of_rank[static_cast<size_t>(peer)] + (wanted - begin);
  }
  return nullptr;
}

Status fake_comm_create(const CommBootstrap* bootstrap, Comm** out) {
  auto comm = std::make_unique<Comm>();
  comm->rank = bootstrap->rank;
  comm->size = bootstrap->size;
  comm->bootstrap = *bootstrap;
  if (comm->rank == 0) comm->meeting = std::make_shared<FakeMeeting>(comm->size);
  const std::shared_ptr<FakeMeeting>* own = &comm->meeting;
  std::vector<const std::shared_ptr<FakeMeeting>*> all(static_cast<size_t>(comm->size));
  if (bootstrap->all_gather(bootstrap->user, &own, all.data(), sizeof own) != 0) return kPeerLost;
  if (comm->rank != 0) comm->meeting = *all[0];
  // Rank 0 may go away only after everybody has taken its share.
  if (bootstrap->all_gather(bootstrap->user, &own, all.data(), sizeof own) != 0) return kPeerLost;
  const Comm* self = comm.get();
  comm->ranks.resize(static_cast<size_t>(comm->size));
  if (bootstrap->all_gather(bootstrap->user, &self, comm->ranks.data(), sizeof self) != 0) {
    return kPeerLost;
  }
  *out = comm.release();
  return kOk;
}

void fake_comm_destroy(Comm* comm) { delete comm; }

Status fake_comm_alloc(Comm* comm, size_t bytes, void** out) {
  Comm::Allocation allocation;
  allocation.memory = std::make_unique<std::byte[]>(bytes);
  std::memset(allocation.memory.get(), 0xff, bytes);
  allocation.bytes = bytes;
  allocation.of_rank.resize(static_cast<size_t>(comm->size));
  std::byte* own = allocation.memory.get();
  if (comm->bootstrap.all_gather(comm->bootstrap.user, &own, allocation.of_rank.data(),
                                 sizeof own) != 0) {
    return kPeerLost;
  }
  *out = own;
  comm->allocations.push_back(std::move(allocation));
  return kOk;
}

bool fake_all_gather(Comm* comm, const GatherPart& part) {
  if (!comm->meeting->meet()) return false;
  auto* own = static_cast<std::byte*>(part.recv) + comm->rank * part.bytes_per_rank;
  std::memmove(own, part.send, part.bytes_per_rank);
  for (int32_t peer = 0; peer < comm->size; ++peer) {
    if (peer != comm->rank) std::memcpy(comm->of_peer(own, peer), own, part.bytes_per_rank);
  }
  return comm->meeting->meet();
}

bool fake_all_reduce(Comm* comm, const float* send, float* recv, int64_t count) {
  comm->reducing = send;
  if (!comm->meeting->meet()) return false;
  for (int64_t i = 0; i < count; ++i) {
    float sum = comm->ranks[0]->reducing[i];
    for (size_t rank = 1; rank < comm->ranks.size(); ++rank) sum += comm->ranks[rank]->reducing[i];
    recv[i] = sum;
  }
  return comm->meeting->meet();
}

bool fake_all_to_all(Comm* comm, const void* send, void* recv, int32_t rows_per_rank,
                     size_t row_bytes, const int32_t* rows, const int32_t* count) {
  if (!comm->meeting->meet()) return false;
  const int32_t listed = rows != nullptr ? *count : rows_per_rank * comm->size;
  for (int32_t i = 0; i < listed; ++i) {
    const int32_t row = rows != nullptr ? rows[i] : i;
    const int32_t peer = row / rows_per_rank;
    if (peer == comm->rank) continue;
    const int64_t at = int64_t{comm->rank} * rows_per_rank + row % rows_per_rank;
    auto* to = static_cast<std::byte*>(recv) + static_cast<size_t>(at) * row_bytes;
    std::memcpy(comm->of_peer(to, peer),
                static_cast<const std::byte*>(send) + static_cast<size_t>(row) * row_bytes,
                row_bytes);
  }
  return comm->meeting->meet();
}

}  // namespace conclave::device
