#ifndef CONCLAVE_WORKER_COHERENT_EXCHANGE_H_
#define CONCLAVE_WORKER_COHERENT_EXCHANGE_H_

// Context-coherent expert parallelism (ExFlow, arXiv 2401.08383, generalised to top-k): a coherent
// row stays, for the next layer's attention, on the rank that serves its leading expert. One
// dispatch carries rows to the ranks of their experts and the state of a row to its next rank; one
// return carries unsummed expert rows straight there, where they are added as ever (law 1). Fixed
// rows of the same step keep their rank. With one expert a token (top-1) nothing returns. Every
// rank of the group must call run() for every MoE layer of the step. All memory is taken in
// create() (law 5).

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "expert_placement/table/placement_table.h"
#include "kernels/kernel_set.h"
#include "protocol/routing_counts.h"
#include "worker/coherent_message.h"
#include "worker/expert_exchange.h"
#include "worker/expert_groups.h"
#include "worker/expert_runner.h"
#include "worker/host_region.h"
#include "worker/model_weights.h"
#include "worker/overlap_model.h"

namespace conclave::worker {

class CoherentExchange {
 public:
  using Parts = ExpertExchange::Parts;
  using Options = ExpertExchange::Options;  // max_rows: of one rank in one layer, both kinds
  // Rows 0 .. fixed-1 are fixed, the others coherent. What is named in-out changes with the
  // coherent rows.
  struct Rows {
    int64_t count = 0;  // in-out
    int64_t fixed = 0;
    std::vector<int32_t>* items = nullptr;    // in-out [count - fixed]: which coherent chunk
    std::vector<int32_t>* leaders = nullptr;  // in-out [>= count]: leading expert in this layer
    std::span<float* const> states;           // in-out [max_rows, H] each: moved along with the row
  };
  struct Layer {
    int32_t number = 0;  // in the model
    const LayerWeights* weights = nullptr;
    std::span<const int32_t> ids;           // [count * top_k], ascending for each row
    std::span<const float> expert_weights;  // [count * top_k]
    bool returns = true;  // false, on all ranks alike: no row's result is needed away from its expert
    int64_t step = -1;
    Deadline deadline = Deadline::after_ms(0);
  };
  struct Timing {
    double exchange_seconds = 0, exposed_seconds = 0;
    int64_t bytes_sent = 0, messages_sent = 0;
    protocol::Traffic traffic[2][2];  // [plan][dispatch, return]
  };

  static absl::StatusOr<std::unique_ptr<CoherentExchange>> create(const Parts& parts,
                                                                  const Options& options,
                                                                  int32_t states);
  void set_holders(int32_t moe_layer, const std::vector<std::vector<int32_t>>& holders);

  // Where the caller writes its act rows [rows, H] before run().
  kernels::MatrixView input(int64_t rows) const;
  // out float32 [rows->count afterwards, H].
  absl::Status run(const Layer& layer, Rows* rows, const kernels::MatrixView& out);

  const Timing& timing() const { return timing_; }
  void reset_timing();
  std::span<const int64_t> expert_rows() const { return expert_rows_; }

 private:
  // A row of the layer's result: who sent it here (this rank: it stayed), and where its own pairs
  // begin.
  struct Arrival {
    int32_t origin = 0;
    int32_t input_row = 0;
  };
  CoherentExchange(const Parts& parts, const Options& options, int32_t states);
  absl::Status reserve();
  void lay_out(RegionCursor* cursor);
  int32_t owner(int32_t from, int32_t expert) const {
    return layer_owners_[static_cast<size_t>(from) * static_cast<size_t>(experts_) +
                         static_cast<size_t>(expert)];
  }
  bool is_coherent(int64_t row) const { return row >= rows_->fixed; }

  void choose_targets();
  void write_messages();
  absl::Status exchange(std::string_view operation);
  absl::Status receive_rows();
  absl::Status receive_from(int from, size_t* row);
  void keep_stayers();
  absl::Status compute_experts();
  void compute_shared();
  void write_returns();
  absl::Status locate_results();
  void add_up(const kernels::MatrixView& out);
  void count_traffic(bool coherent, protocol::TrafficDirection direction, int64_t messages,
                     size_t bytes);
  void append_result(int32_t origin, int32_t input_row, std::span<const int32_t> ids,
                     std::span<const float> weights);

  Parts parts_;
  Options options_;
  int rank_;
  int size_;
  int32_t experts_;
  CoherentShape shape_;
  ExpertCostModel cost_;
  ExpertGroups groups_;
  ExpertRunner runner_;

  HostRegion memory_;
  std::byte* input_rows_ = nullptr;   // act [size * max_rows, H]: own rows, then received ones
  std::byte* output_rows_ = nullptr;  // act [pairs, H]
  std::byte* shared_in_ =
      nullptr;  // act [max_rows, H]: rows of the result, for a gated shared expert
  std::byte* shared_rows_ = nullptr;       // act [max_rows, H]
  float* shared_gate_ = nullptr;           // [max_rows]
  std::vector<std::byte*> send_memory_;    // [size]
  std::vector<std::byte*> return_memory_;  // [size]

  std::vector<int32_t> owners_;  // [moe layers][size][experts]: who serves a rank's tokens
  const int32_t* layer_owners_ = nullptr;
  std::vector<int32_t> target_;                              // [own rows]
  std::vector<int32_t> pair_target_;                         // [pairs] rank that gets the result
  std::vector<int32_t> own_pair_row_;                        // [own pairs]
  std::vector<size_t> first_pair_from_, pairs_from_;         // [size]
  std::vector<CoherentCounts> counts_to_;                    // [size]
  std::vector<int64_t> last_row_to_;                         // [size]
  std::vector<CoherentWriter> writers_;                      // [size]
  std::vector<std::span<const std::byte>> send_, received_;  // [size]
  std::vector<size_t> return_bytes_;                         // [size]

  // Of the result: [rows], [rows * k].
  std::vector<Arrival> arrivals_;
  std::vector<int32_t> result_ids_;
  std::vector<float> result_weights_;
  std::vector<int32_t> source_of_, row_of_;
  std::vector<int32_t> local_cursor_;  // [received rows + own rows]: next pair of the row here
  std::vector<int32_t> block_;         // [size source][size origin]
  std::vector<int32_t> shared_inputs_, shared_outputs_;
  std::vector<kernels::ConstMatrixView> sources_;  // [1 + size]

  const Layer* layer_ = nullptr;
  Rows* rows_ = nullptr;
  int64_t own_rows_ = 0;  // before rows moved
  comm::ExchangeTicket ticket_;
  Timing timing_;
  std::vector<int64_t> expert_rows_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_COHERENT_EXCHANGE_H_
