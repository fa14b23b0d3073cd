#ifndef CONCLAVE_WORKER_EXPERT_EXCHANGE_H_
#define CONCLAVE_WORKER_EXPERT_EXCHANGE_H_

// Expert parallelism with data-parallel attention. A token row travels to each rank that serves at
// least one of its experts, once; one unsummed row for each (token, expert) comes back; the token's
// home adds them in ascending logical expert id, shared expert last (law 1). While rows travel, the
// rows of local experts and the shared expert are computed (OverlapMode says how far). Every rank
// of the group must call dispatch and combine for every MoE layer, also without rows. All memory is
// taken in create() (law 5).

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "expert_placement/table/placement_table.h"
#include "kernels/kernel_set.h"
#include "worker/dispatch_message.h"
#include "worker/expert_groups.h"
#include "worker/expert_runner.h"
#include "worker/expert_store.h"
#include "worker/host_region.h"
#include "worker/model_weights.h"
#include "worker/overlap_model.h"
#include "worker/step_progress.h"
#include "worker/worker_clock.h"

namespace conclave::worker {

class ExpertExchange {
 public:
  struct Parts {  // all but the table, which is read in create() only, outlive the exchange
    kernels::KernelSet* kernels = nullptr;
    comm::Communicator* communicator = nullptr;
    ExpertStore* experts = nullptr;
    const placement::PlacementTable* table = nullptr;
    StepProgress* progress = nullptr;
    WorkerClock clock = steady_worker_clock();
  };
  struct Options {
    int64_t max_rows = 0;  // of one rank in one step
    int32_t hidden = 0;
    int32_t top_k = 0;
    OverlapMode overlap = OverlapMode::kAuto;
    ExpertCostModel::ExpertShape expert;
    ExpertCostModel::Rates rates;
    double piece_seconds = 0.001;  // of local experts between two polls of the transport, kOn
    double poll_seconds = 20e-6;   // the same, kAuto
  };
  // One MoE layer of one step. The spans and the layer must stay valid until combine().
  struct Request {
    int32_t layer = 0;  // number in the model
    const LayerWeights* weights = nullptr;
    int64_t rows = 0;                       // of input(), written by the caller before
    std::span<const int32_t> ids;           // [rows * top_k], ascending for each row
    std::span<const float> expert_weights;  // [rows * top_k]
    int64_t step = -1;
    Deadline deadline = Deadline::after_ms(0);
  };
  struct Ticket {
    bool open = false;
  };
  struct Timing {
    double exchange_seconds = 0;  // begin to arrival
    double exposed_seconds = 0;   // spent waiting
    double combine_seconds = 0;   // of exchange_seconds: bringing results home
    int64_t bytes_sent = 0;
    int64_t messages_sent = 0;
    // As the placement objective counts: (token, remote rank) pairs, and rows without lists.
    int64_t rows_dispatched = 0;
    int64_t rows_served = 0;  // of other ranks' tokens
    int64_t bytes_dispatched = 0;
    int64_t bytes_returned = 0;
  };

  static absl::StatusOr<std::unique_ptr<ExpertExchange>> create(const Parts& parts,
                                                                const Options& options);
  // The rows that kernels see in one expert_ffn call at most; for KernelSet::reserve.
  static int64_t max_call_rows(int64_t max_rows, int32_t top_k);

  // Where the caller writes its act rows [rows, H] before dispatch().
  kernels::MatrixView input(int64_t rows) const;
  // Sends rows on their way. One ticket at a time.
  absl::StatusOr<Ticket> dispatch(const Request& request);
  // Finishes the layer: out float32 [rows, H].
  absl::Status combine(Ticket ticket, const kernels::MatrixView& out);

  // Between steps: which ranks hold each expert of a layer from now on.
  void set_holders(int32_t moe_layer, const std::vector<std::vector<int32_t>>& holders);

  const Timing& timing() const { return timing_; }
  void reset_timing();
  // [moe layers]: expert rows that this rank computed since reset_timing().
  std::span<const int64_t> expert_rows() const { return expert_rows_; }

 private:
  struct Flight {  // an exchange between begin and release
    comm::ExchangeTicket ticket;
    bool open = false;
    bool arrived = false;
    bool combines = false;
    double begin = 0;
  };
  ExpertExchange(const Parts& parts, const Options& options);
  absl::Status reserve();
  void lay_out(RegionCursor* cursor);
  comm::OpContext context(std::string_view operation) const;
  bool alone() const { return size_ == 1; }

  void assign_pairs();
  void write_messages();
  absl::Status receive_rows();
  ExpertRunner::Between make_between();
  absl::StatusOr<int32_t> compute(const ExpertRunner::Between* between);
  absl::Status compute_shared(bool keep_moving);
  absl::Status compute_around_dispatch();
  absl::Status await_a_piece();
  absl::Status return_rows();
  void add_up(const kernels::MatrixView& out);

  absl::Status begin(std::string_view operation);
  absl::Status keep_moving();  // progress() of the flight, noting its arrival
  absl::Status finish();
  void note_arrival(double now);
  void land();

  Parts parts_;
  Options options_;
  int rank_ = 0;
  int size_ = 1;
  int32_t experts_ = 0;  // of a layer
  size_t row_bytes_ = 0;
  int64_t max_pairs_back_ = 0;  // that one rank can ask of another
  ExpertCostModel cost_;
  ExpertGroups groups_;
  ExpertRunner runner_;
  ExpertRunner::Between between_;

  HostRegion memory_;
  std::byte* input_rows_ = nullptr;      // act [size * max_rows, H]: own rows, then received ones
  std::byte* output_rows_ = nullptr;     // act [pairs, H]: local pairs, then those of each rank
  std::byte* shared_rows_ = nullptr;     // act [max_rows, H]
  float* shared_gate_ = nullptr;         // [max_rows]
  std::vector<std::byte*> send_memory_;  // [size]

  std::vector<int32_t> owner_;  // [moe layers * experts]: rank that serves this rank's tokens
  std::vector<int32_t> source_of_, row_of_;  // [max_rows * top_k]
  std::vector<int32_t> own_rows_;            // 0, 1, 2, ... for the shared expert
  std::vector<size_t> rows_to_, pairs_to_;   // [size] of the dispatch under way
  std::vector<int64_t> last_row_to_;         // [size] the row that was counted or written last
  std::vector<size_t> pairs_from_, first_pair_from_;         // [size]
  std::vector<DispatchWriter> writers_;                      // [size]
  std::vector<std::span<const std::byte>> send_, received_;  // [size]
  std::vector<kernels::ConstMatrixView> sources_;            // [1 + size]

  Request request_;
  Flight flight_;
  bool shared_done_ = false;
  Timing timing_;
  std::vector<int64_t> expert_rows_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_EXPERT_EXCHANGE_H_
