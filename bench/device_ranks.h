#ifndef CONCLAVE_BENCH_DEVICE_RANKS_H_
#define CONCLAVE_BENCH_DEVICE_RANKS_H_

#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status_macros.h"
#include "kernels/device/device.h"

namespace conclave::device {

// For benchmarks and tests: ranks as threads, each with a device and a communicator; ranks share
// devices where there are fewer.
class DeviceRanks {
 public:
  struct Rank {
    int32_t rank = 0;
    std::unique_ptr<Device> device;
    Comm* comm = nullptr;
    OwnedStream stream;
    const DeviceOps& ops() const { return device->ops(); }
    Context* context() const { return device->context(); }
    absl::Status wait() const {
      return device->check(ops().stream_synchronize(context(), stream.get()));
    }
  };
  DeviceRanks(std::shared_ptr<const Library> library, int32_t size, int32_t kind)
      : library_(std::move(library)), size_(size), kind_(kind), board_(static_cast<size_t>(size)) {}

  // Runs body on every rank at once; the first error in rank order.
  absl::Status run(const std::function<absl::Status(Rank&)>& body) {
    std::vector<absl::Status> statuses(static_cast<size_t>(size_));
    std::vector<std::thread> threads;
    for (int32_t rank = 0; rank < size_; ++rank) {
      threads.emplace_back(
          [&, rank] { statuses[static_cast<size_t>(rank)] = run_rank(rank, body); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
    return absl::OkStatus();
  }

 private:
  struct Seat {
    DeviceRanks* ranks;
    int32_t rank;
  };

  absl::Status run_rank(int32_t index, const std::function<absl::Status(Rank&)>& body) {
    ASSIGN_OR_RETURN(const int devices, library_->device_count());
    Rank rank;
    rank.rank = index;
    ASSIGN_OR_RETURN(rank.device, Device::create(library_, index % devices, ComputeType::kBF16));
    ASSIGN_OR_RETURN(rank.stream, rank.device->make_stream(true));
    Seat seat{this, index};
    const CommBootstrap bootstrap{index, size_, &DeviceRanks::all_gather, &seat};
    RETURN_IF_ERROR(
        rank.device->check(rank.ops().comm_create(rank.context(), &bootstrap, kind_, &rank.comm)));
    absl::Status status = body(rank);
    // Nobody's memory may go while another still writes to it.
    meet();
    rank.ops().comm_destroy(rank.context(), rank.comm);
    return status;
  }

  static int32_t all_gather(void* user, const void* own, void* all, size_t bytes) {
    const Seat& seat = *static_cast<Seat*>(user);
    std::vector<std::string>& board = seat.ranks->board_;
    board[static_cast<size_t>(seat.rank)].assign(static_cast<const char*>(own), bytes);
    seat.ranks->meet();
    for (size_t i = 0; i < board.size(); ++i) {
      std::memcpy(static_cast<char*>(all) + i * bytes, board[i].data(), bytes);
    }
    seat.ranks->meet();
    return 0;
  }

  void meet() {
    std::unique_lock lock(mutex_);
    const int64_t round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return round_ != round; });
  }

  std::shared_ptr<const Library> library_;
  int32_t size_;
  int32_t kind_;
  std::vector<std::string> board_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int32_t arrived_ = 0;
  int64_t round_ = 0;
};

}  // namespace conclave::device

#endif  // CONCLAVE_BENCH_DEVICE_RANKS_H_
