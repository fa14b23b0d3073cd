#ifndef CONCLAVE_WORKER_DEVICE_UPLOAD_H_
#define CONCLAVE_WORKER_DEVICE_UPLOAD_H_

// Moves tensors from weight files into device memory: a list of jobs, run by several threads that
// each have a stream, pinned staging and device staging of their own.

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "kernels/device/device.h"
#include "model/weights.h"

namespace conclave::worker {

struct UploadJob {
  enum class Kind : uint8_t {
    kMatrix,  // parts stacked along rows and packed
    kGateUp,  // parts: gate, up
    kTable,   // one part, row-major in `dtype`
  };
  Kind kind = Kind::kMatrix;
  std::vector<const model::Tensor*> parts;
  int32_t dtype = 0;  // stored
  std::byte* out = nullptr;
  size_t source_bytes() const {
    size_t bytes = 0;
    for (const model::Tensor* part : parts) bytes += part->bytes();
    return bytes;
  }
};

struct UploadOptions {
  int threads = 4;
  std::function<absl::Status(uint64_t bytes_done)> progress;  // called from the calling thread
};

// Runs all jobs; the first error, or what progress returned. All copies have landed when it
// returns.
absl::Status upload(const device::Device& device, const model::Weights& weights,
                    const std::vector<UploadJob>& jobs, const UploadOptions& options);

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_UPLOAD_H_
