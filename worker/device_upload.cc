#include "worker/device_upload.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/status_macros.h"
#include "worker/dummy_values.h"

namespace conclave::worker {
namespace {

constexpr size_t kPinnedBytes = size_t{16} << 20;
constexpr size_t kStagingAlignment = 256;
constexpr std::chrono::milliseconds kProgressPeriod{50};

size_t aligned(size_t bytes) {
  return (bytes + kStagingAlignment - 1) / kStagingAlignment * kStagingAlignment;
}

// What one thread uploads with: while one half of the pinned memory travels, the other is filled.
class Uploader {
 public:
  Uploader(const device::Device& device, const model::Weights& weights)
      : device_(device), weights_(weights) {}

  absl::Status open() {
    ASSIGN_OR_RETURN(stream_, device_.make_stream(false));
    for (Half& half : halves_) {
      ASSIGN_OR_RETURN(half.memory, device_.alloc_pinned(kPinnedBytes, "weight staging"));
      ASSIGN_OR_RETURN(half.free, device_.make_event(false));
    }
    return absl::OkStatus();
  }

  absl::Status run(const UploadJob& job) {
    const model::Tensor& first = *job.parts[0];
    const bool plain =
        job.kind == UploadJob::Kind::kTable && static_cast<int32_t>(first.dtype) == job.dtype;
    if (plain) return bring(job, first, job.out);
    size_t bytes = 0;
    for (const model::Tensor* part : job.parts) bytes += aligned(part->bytes());
    RETURN_IF_ERROR(need_staging(bytes));
    std::vector<device::WeightPart> parts;
    std::byte* at = staging_.data();
    for (const model::Tensor* part : job.parts) {
      RETURN_IF_ERROR(bring(job, *part, at));
      parts.push_back({at, static_cast<int32_t>(part->dtype), part->rows, part->cols});
      at += aligned(part->bytes());
    }
    return device_.check(transform(job, parts));
  }

  absl::Status finish() {
    if (stream_.get() == nullptr) return absl::OkStatus();
    return device_.check(ops().stream_synchronize(device_.context(), stream_.get()));
  }

 private:
  struct Half {
    device::Memory memory;
    device::OwnedEvent free;
    bool in_flight = false;
  };

  const device::DeviceOps& ops() const { return device_.ops(); }

  device::Status transform(const UploadJob& job, const std::vector<device::WeightPart>& parts) {
    device::Context* context = device_.context();
    switch (job.kind) {
      case UploadJob::Kind::kGateUp:
        return ops().pack_gate_up(context, stream_.get(), parts.data(), &parts[1], job.dtype,
                                  job.out);
      case UploadJob::Kind::kTable:
        return ops().convert(context, stream_.get(), parts[0].data, parts[0].dtype, job.out,
                             job.dtype, parts[0].rows * parts[0].cols);
      case UploadJob::Kind::kMatrix:
        break;
    }
    return ops().pack_matrix(context, stream_.get(), parts.data(),
                             static_cast<int32_t>(parts.size()), job.dtype, job.out);
  }

  // The stream runs in order, so staging memory may be overwritten by the next job's copies.
  absl::Status need_staging(size_t bytes) {
    if (staging_.bytes() >= bytes) return absl::OkStatus();
    RETURN_IF_ERROR(finish());
    staging_ = device::Memory();
    ASSIGN_OR_RETURN(staging_, device_.alloc(bytes, "weight staging"));
    return absl::OkStatus();
  }

  absl::Status bring(const UploadJob& job, const model::Tensor& tensor, std::byte* to) {
    if (tensor.data == nullptr) {
      const int64_t inputs = job.kind == UploadJob::Kind::kTable ? 1 : tensor.cols;
      return device_.check(ops().fill_random(
          device_.context(), stream_.get(), to, static_cast<int32_t>(tensor.dtype),
          tensor.rows * tensor.cols, tensor.dummy_seed, dummy_bound(inputs)));
    }
    for (size_t done = 0; done < tensor.bytes();) {
      const size_t bytes = std::min(kPinnedBytes, tensor.bytes() - done);
      RETURN_IF_ERROR(send(tensor.data + done, to + done, bytes));
      done += bytes;
    }
    weights_.release(tensor);
    return absl::OkStatus();
  }

  absl::Status send(const std::byte* from, std::byte* to, size_t bytes) {
    Half& half = halves_[next_half_];
    next_half_ = 1 - next_half_;
    while (half.in_flight) {
      int32_t done = 0;
      RETURN_IF_ERROR(device_.check(ops().event_done(device_.context(), half.free.get(), &done)));
      half.in_flight = done == 0;
      if (half.in_flight) std::this_thread::yield();
    }
    std::memcpy(half.memory.data(), from, bytes);
    RETURN_IF_ERROR(
        device_.check(ops().copy(device_.context(), stream_.get(), to, half.memory.data(), bytes)));
    RETURN_IF_ERROR(
        device_.check(ops().event_record(device_.context(), stream_.get(), half.free.get())));
    half.in_flight = true;
    return absl::OkStatus();
  }

  const device::Device& device_;
  const model::Weights& weights_;
  device::OwnedStream stream_;
  std::array<Half, 2> halves_;
  size_t next_half_ = 0;
  device::Memory staging_;
};

// The jobs in order, taken by whoever is free, and how far they are.
class JobQueue {
 public:
  explicit JobQueue(const std::vector<UploadJob>& jobs) : jobs_(jobs) {}

  void work(const device::Device& device, const model::Weights& weights) {
    Uploader uploader(device, weights);
    absl::Status status = uploader.open();
    while (status.ok()) {
      const size_t index = next_.fetch_add(1);
      if (index >= jobs_.size()) break;
      status = uploader.run(jobs_[index]);
      bytes_done_ += jobs_[index].source_bytes();
    }
    const absl::Status finished = uploader.finish();
    if (status.ok()) status = finished;
    std::lock_guard lock(mutex_);
    if (!status.ok()) stop(status);
    ++ended_;
    changed_.notify_all();
  }

  // Until all `threads` have ended.
  absl::Status wait(int threads, const UploadOptions& options) {
    std::unique_lock lock(mutex_);
    while (ended_ < threads) {
      changed_.wait_for(lock, kProgressPeriod);
      if (options.progress == nullptr || !status_.ok()) continue;
      lock.unlock();
      const absl::Status wanted = options.progress(bytes_done_.load());
      lock.lock();
      if (!wanted.ok()) stop(wanted);
    }
    return status_;
  }

 private:
  void stop(const absl::Status& status) {
    if (status_.ok()) status_ = status;
    next_ = jobs_.size();
  }
  const std::vector<UploadJob>& jobs_;
  std::atomic<size_t> next_{0};
  std::atomic<uint64_t> bytes_done_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  int ended_ = 0;
  absl::Status status_;
};

}  // namespace

absl::Status upload(const device::Device& device, const model::Weights& weights,
                    const std::vector<UploadJob>& jobs, const UploadOptions& options) {
  JobQueue queue(jobs);
  const int threads = std::max(1, options.threads);
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back([&] { queue.work(device, weights); });
  }
  const absl::Status status = queue.wait(threads, options);
  for (std::thread& thread : pool) thread.join();
  return status;
}

}  // namespace conclave::worker
