#ifndef CONCLAVE_WORKER_DEVICE_EXCHANGE_H_
#define CONCLAVE_WORKER_DEVICE_EXCHANGE_H_

// Expert parallelism between devices. Every rank gets the rows of all ranks (all-gather), computes
// the pairs of its experts and sends each unsummed row to its token's home, which adds them in
// ascending logical expert id (law 1). All sizes are those of the step's bound, equal on all ranks,
// so that nothing depends on a count that the host would have to read: a decode step can be
// captured as a graph.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "expert_placement/table/placement_table.h"
#include "kernels/device/device.h"

namespace conclave::worker {

class DeviceExchange {
 public:
  struct Options {
    int64_t max_rows = 0;  // of one rank in one step
    int32_t hidden = 0;
    int32_t top_k = 0;
    int32_t kind = device::kCommAuto;
  };
  // Collective. Both outlive the exchange.
  static absl::StatusOr<std::unique_ptr<DeviceExchange>> create(
      const device::Device* device, comm::Communicator* communicator,
      const placement::PlacementTable& table, const Options& options);
  ~DeviceExchange();

  // Where the caller writes its act rows [bound, H] before gather().
  void* rows(int32_t bound) const {
    return rows_ + static_cast<size_t>(rank_ * bound) * row_bytes_;
  }
  // ids: of the own rows, device [bound, k].
  absl::Status gather(device::Stream* stream, int32_t bound, const int32_t* ids);
  // After gather(): act [ranks * bound, H], [ranks * bound, k].
  const void* all_rows() const { return rows_; }
  const int32_t* all_ids() const { return ids_; }
  int32_t ranks() const { return size_; }
  // Whose rows this rank computes in an MoE layer, for group_experts.
  device::ExpertOwners owners(int32_t moe_layer, int32_t bound) const;
  // Where expert_ffn writes: act [ranks * bound * k, H].
  void* pair_rows() const { return pair_rows_; }
  // Sends the listed pair rows home; lists as group_experts made them for all rows.
  absl::Status send_home(device::Stream* stream, int32_t bound, const device::ExpertLists& lists);
  device::CombineSources sources(int32_t moe_layer, int32_t bound) const;

  // UNAVAILABLE names the rank and host that failed or is late.
  absl::Status check() const;
  void abort() const;
  std::string_view name() const;
  // Bytes that one step of `bound` rows sends at most for one MoE layer.
  int64_t bytes_per_layer(int32_t bound) const;

 private:
  DeviceExchange(const device::Device* device, comm::Communicator* communicator,
                 const Options& options);
  absl::Status connect();
  absl::Status reserve(const placement::PlacementTable& table);

  const device::Device* device_;
  comm::Communicator* communicator_;
  Options options_;
  int32_t rank_;
  int32_t size_;
  int32_t experts_ = 0;
  size_t row_bytes_;
  device::Comm* comm_ = nullptr;
  std::byte* rows_ = nullptr;  // from comm_alloc, as ids_, pair_rows_ and home_rows_
  int32_t* ids_ = nullptr;
  std::byte* pair_rows_ = nullptr;
  std::byte* home_rows_ = nullptr;  // act [ranks, bound * k, H]: what came back
  device::Memory owners_;           // int32 [moe layers, ranks, E]
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_EXCHANGE_H_
