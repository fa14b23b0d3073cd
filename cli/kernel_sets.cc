#include "cli/kernel_sets.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/device/plugin.h"
#include "kernels/device/thread_pool.h"
#include "kernels/reference/reference_kernels.h"

namespace conclave::cli {
namespace {

bool environment_is(const char* name, std::string_view value) {
  const char* text = std::getenv(name);
  return text != nullptr && value == text;
}

// The GPUs of this host behind the plugin, or why there are none for its ranks.
class Gpus {
 public:
  explicit Gpus(int ranks_on_host) : status_(open(ranks_on_host)) {}

  const absl::Status& status() const { return status_; }
  std::string name() const { return library_->ops().name; }
  absl::StatusOr<std::unique_ptr<device::Device>> make(ComputeType compute, int rank_on_host) const {
    return device::Device::create(library_, rank_on_host % count_, compute);
  }

 private:
  absl::Status open(int ranks_on_host) {
    ASSIGN_OR_RETURN(library_, device::Library::load(device::cuda_plugin_path()));
    ASSIGN_OR_RETURN(count_, library_->device_count());
    if (ranks_on_host <= count_ || environment_is("CONCLAVE_SHARE_GPU", "1")) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(ranks_on_host, " ranks on this host but only ", count_,
                     " GPU(s): each rank needs one; use --ranks ", count_, " or --device cpu"));
  }
  std::shared_ptr<const device::Library> library_;
  int count_ = 0;
  absl::Status status_;
};

class AllKernelSets : public worker::KernelSetFactory {
 public:
  AllKernelSets(const std::string& device, int ranks_on_host) : device_(device) {
    if (device_ == "cpu") return;
    gpus_ = std::make_unique<Gpus>(ranks_on_host);
    if (gpus_->status().ok() || device_ == "cuda") return;
    // Without the plugin this is a CPU build, which is no news.
    if (!absl::IsNotFound(gpus_->status())) {
      log_info("running on the CPU", {{"reason", std::string(gpus_->status().message())}});
    }
    gpus_.reset();
  }

  absl::Status check() const override { return gpus_ == nullptr ? absl::OkStatus() : gpus_->status(); }

  std::vector<std::string> available() const override {
    std::vector<std::string> names;
    if (gpus_ != nullptr && gpus_->status().ok()) names.push_back(gpus_->name());
    if (device_ == "cuda") return names;
    for (std::string& name : kernels::available_cpu_kernel_sets()) names.push_back(std::move(name));
    names.emplace_back("reference");
    return names;
  }

  absl::StatusOr<std::unique_ptr<kernels::KernelSet>> make(const std::string& name, ComputeType compute, int threads,
                                                           int first_core) override {
    if (name == "reference") return kernels::make_reference_kernels(compute);
    kernels::ThreadPoolOptions options;
    options.threads = threads;
    options.first_core = first_core;
    ASSIGN_OR_RETURN(std::shared_ptr<kernels::ThreadPool> pool, kernels::ThreadPool::Create(options));
    // make() runs on the thread that will run the steps: it is the pool's thread 0.
    RETURN_IF_ERROR(pool->pin_caller());
    return kernels::make_cpu_kernels(name, compute, std::move(pool));
  }

  bool is_device(const std::string& name) const override {
    return gpus_ != nullptr && gpus_->status().ok() && name == gpus_->name();
  }
  absl::StatusOr<std::unique_ptr<device::Device>> make_device(const std::string&, ComputeType compute,
                                                              int rank_on_host) override {
    return gpus_->make(compute, rank_on_host);
  }
  worker::DeviceOptions device_options() const override {
    worker::DeviceOptions options;
    options.graphs = !environment_is("CONCLAVE_CUDA_GRAPHS", "off");
    if (environment_is("CONCLAVE_DEVICE_COMM", "peer")) options.comm_kind = device::kCommPeer;
    if (environment_is("CONCLAVE_DEVICE_COMM", "nccl")) options.comm_kind = device::kCommNccl;
    if (environment_is("CONCLAVE_DEVICE_COMM", "nccl-symmetric")) {
      options.comm_kind = device::kCommNcclSymmetric;
    }
    return options;
  }

 private:
  std::string device_;
  std::unique_ptr<Gpus> gpus_;  // null: not wanted, or none and that is fine
};

}  // namespace

std::unique_ptr<worker::KernelSetFactory> make_kernel_set_factory(const std::string& device,
                                                                  int ranks_on_host) {
  return std::make_unique<AllKernelSets>(device, ranks_on_host);
}

}  // namespace conclave::cli
