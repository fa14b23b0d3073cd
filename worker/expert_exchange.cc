#include "worker/expert_exchange.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr size_t kMaxReservedMessageBytes = size_t{256}
                                            << 20;  // larger messages make comm allocate
constexpr int64_t kMaxCallRows = 8192;

// Whatever the table: a row brings at most its top_k experts to a rank.
size_t max_pairs(const ExpertExchange::Options& o, int ranks) {
  return static_cast<size_t>(o.max_rows) * static_cast<size_t>(ranks) *
         static_cast<size_t>(o.top_k);
}

}  // namespace

int64_t ExpertExchange::max_call_rows(int64_t max_rows, int32_t top_k) {
  return std::max(max_rows, std::min(max_rows * top_k, kMaxCallRows));
}

ExpertExchange::ExpertExchange(const Parts& parts, const Options& options)
    : parts_(parts),
      options_(options),
      rank_(parts.communicator->rank()),
      size_(parts.communicator->size()),
      experts_(parts.table->experts()),
      row_bytes_(static_cast<size_t>(options.hidden) * dtype_bytes(parts.kernels->act_dtype())),
      max_pairs_back_(options.max_rows * options.top_k),
      cost_(options.expert, options.rates),
      groups_(parts.table->experts(), max_pairs(options, size_)),
      runner_(parts.kernels, parts.experts, &cost_, &parts_.clock,
              {parts.table->experts(), max_call_rows(options.max_rows, options.top_k)}),
      between_(make_between()) {}

// With kOn a poll only moves the transfer along; with kAuto it decides, so it must come soon.
ExpertRunner::Between ExpertExchange::make_between() {
  const bool decides = options_.overlap == OverlapMode::kAuto;
  return {decides ? options_.poll_seconds : options_.piece_seconds,
          [this, decides]() -> absl::StatusOr<bool> {
            RETURN_IF_ERROR(keep_moving());
            return decides && flight_.arrived;
          }};
}

absl::StatusOr<std::unique_ptr<ExpertExchange>> ExpertExchange::create(const Parts& parts,
                                                                       const Options& options) {
  std::unique_ptr<ExpertExchange> exchange(new ExpertExchange(parts, options));
  RETURN_IF_ERROR(exchange->reserve());
  return exchange;
}

void ExpertExchange::lay_out(RegionCursor* cursor) {
  const auto rows = static_cast<size_t>(options_.max_rows);
  input_rows_ = cursor->take(rows * static_cast<size_t>(size_) * row_bytes_);
  output_rows_ = cursor->take(groups_.max_pairs() * row_bytes_);
  shared_rows_ = cursor->take(rows * row_bytes_);
  shared_gate_ = cursor->take_array<float>(rows);
  const size_t pairs = rows * static_cast<size_t>(options_.top_k);
  for (std::byte*& memory : send_memory_) {
    memory = alone() ? nullptr : cursor->take(dispatch_message_bytes(rows, pairs, row_bytes_));
  }
}

absl::Status ExpertExchange::reserve() {
  const auto ranks = static_cast<size_t>(size_);
  send_memory_.resize(ranks);
  RegionCursor measure(nullptr);
  lay_out(&measure);
  ASSIGN_OR_RETURN(memory_, HostRegion::create(measure.used(), "the expert exchange"));
  RegionCursor cursor(memory_.data());
  lay_out(&cursor);

  const placement::PlacementTable& table = *parts_.table;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      owner_.push_back(table.serving_rank(layer, expert, rank_));
    }
  }
  expert_rows_.resize(static_cast<size_t>(table.layers()));
  const auto rows = static_cast<size_t>(options_.max_rows);
  source_of_.resize(rows * static_cast<size_t>(options_.top_k));
  row_of_.resize(source_of_.size());
  own_rows_.resize(rows);
  std::iota(own_rows_.begin(), own_rows_.end(), 0);
  for (auto* counts : {&rows_to_, &pairs_to_, &pairs_from_, &first_pair_from_})
    counts->resize(ranks);
  last_row_to_.resize(ranks);
  writers_.resize(ranks);
  send_.resize(ranks);
  received_.resize(ranks);
  sources_.resize(ranks + 1);
  if (alone()) return absl::OkStatus();
  const size_t largest =
      std::max(dispatch_message_bytes(rows, rows * static_cast<size_t>(options_.top_k), row_bytes_),
               static_cast<size_t>(max_pairs_back_) * row_bytes_);
  return parts_.communicator->reserve(std::min(largest, kMaxReservedMessageBytes), 2);
}

void ExpertExchange::reset_timing() {
  timing_ = Timing{};
  std::fill(expert_rows_.begin(), expert_rows_.end(), 0);
}

void ExpertExchange::set_holders(int32_t moe_layer,
                                 const std::vector<std::vector<int32_t>>& holders) {
  int32_t* owner = owner_.data() + static_cast<size_t>(moe_layer) * static_cast<size_t>(experts_);
  for (size_t expert = 0; expert < holders.size(); ++expert) {
    owner[expert] = placement::serving_rank(holders[expert], rank_, parts_.table->node_of());
  }
}

kernels::MatrixView ExpertExchange::input(int64_t rows) const {
  return {input_rows_, parts_.kernels->act_dtype(), rows, options_.hidden, options_.hidden};
}

comm::OpContext ExpertExchange::context(std::string_view operation) const {
  return comm::OpContext{operation, request_.layer, request_.step, request_.deadline};
}

absl::StatusOr<ExpertExchange::Ticket> ExpertExchange::dispatch(const Request& request) {
  request_ = request;
  shared_done_ = !request.weights->has_shared;
  assign_pairs();
  if (!alone()) {
    parts_.progress->enter("dispatch", request.layer);
    write_messages();
    RETURN_IF_ERROR(begin("dispatch"));
  }
  return Ticket{true};
}

// Decides for each (row, expert) who computes it and where its result will lie.
void ExpertExchange::assign_pairs() {
  std::fill(rows_to_.begin(), rows_to_.end(), 0);
  std::fill(pairs_to_.begin(), pairs_to_.end(), 0);
  std::fill(last_row_to_.begin(), last_row_to_.end(), -1);
  groups_.clear();
  const int32_t* owner =
      owner_.data() + static_cast<size_t>(request_.weights->moe_index) * experts_;
  const int32_t k = options_.top_k;
  for (int64_t row = 0; row < request_.rows; ++row) {
    for (int64_t pair = row * k; pair < (row + 1) * k; ++pair) {
      const int32_t expert = request_.ids[pair];
      const int32_t to = owner[expert];
      if (to == rank_) {
        source_of_[pair] = 0;
        row_of_[pair] = groups_.add(expert, static_cast<int32_t>(row));
        continue;
      }
      if (last_row_to_[to] != row) ++rows_to_[to];
      last_row_to_[to] = row;
      source_of_[pair] = 1 + to;
      row_of_[pair] = static_cast<int32_t>(pairs_to_[to]++);
    }
  }
}

void ExpertExchange::write_messages() {
  for (int to = 0; to < size_; ++to) {
    const size_t bytes = dispatch_message_bytes(rows_to_[to], pairs_to_[to], row_bytes_);
    send_[to] = {send_memory_[to], bytes};
    writers_[to] = DispatchWriter(send_memory_[to], rows_to_[to], pairs_to_[to], row_bytes_);
    timing_.rows_dispatched += static_cast<int64_t>(rows_to_[to]);
    timing_.bytes_dispatched += static_cast<int64_t>(rows_to_[to] * row_bytes_);
  }
  std::fill(last_row_to_.begin(), last_row_to_.end(), -1);
  const int32_t k = options_.top_k;
  for (int64_t row = 0; row < request_.rows; ++row) {
    const std::byte* data = input_rows_ + static_cast<size_t>(row) * row_bytes_;
    for (int64_t pair = row * k; pair < (row + 1) * k; ++pair) {
      if (source_of_[pair] == 0) continue;
      const int32_t to = source_of_[pair] - 1;
      if (last_row_to_[to] != row) writers_[to].add_row(data);
      last_row_to_[to] = row;
      writers_[to].add_expert(request_.ids[pair]);
    }
  }
}

absl::Status ExpertExchange::combine(Ticket ticket, const kernels::MatrixView& out) {
  if (!ticket.open) return absl::FailedPreconditionError("combine without a dispatch");
  if (alone()) {
    parts_.progress->enter("experts", request_.layer);
    groups_.group_all();
    RETURN_IF_ERROR(compute(nullptr).status());
    RETURN_IF_ERROR(compute_shared(/*keep_moving=*/false));
  } else {
    RETURN_IF_ERROR(compute_around_dispatch());
    RETURN_IF_ERROR(return_rows());
  }
  expert_rows_[static_cast<size_t>(request_.weights->moe_index)] +=
      static_cast<int64_t>(groups_.pairs());
  parts_.progress->enter("combine", request_.layer);
  add_up(out);
  land();
  return absl::OkStatus();
}

absl::Status ExpertExchange::compute_around_dispatch() {
  const size_t local_pairs = groups_.pairs();
  int32_t done_experts = 0;
  if (options_.overlap != OverlapMode::kOff) {
    parts_.progress->enter("local experts", request_.layer);
    groups_.group_all();
    if (options_.overlap == OverlapMode::kAuto) RETURN_IF_ERROR(await_a_piece());
    ASSIGN_OR_RETURN(done_experts, compute(&between_));
    RETURN_IF_ERROR(keep_moving());
    if (!flight_.arrived) RETURN_IF_ERROR(compute_shared(/*keep_moving=*/true));
  }
  parts_.progress->enter("dispatch wait", request_.layer);
  RETURN_IF_ERROR(finish());
  const absl::Status received = receive_rows();
  land();
  RETURN_IF_ERROR(received);
  parts_.progress->enter("remote experts", request_.layer);
  groups_.group_rest(local_pairs, done_experts);
  return compute(nullptr).status();
}

// As long as it would take to run the first piece of local experts again: rows that arrive sooner
// are not worth an expert that runs twice, and waiting longer than the loss it avoids is never
// worth it.
absl::Status ExpertExchange::await_a_piece() {
  if (groups_.experts().empty()) return absl::OkStatus();
  const double again = cost_.repeat_seconds(static_cast<double>(groups_.group_rows()[0]));
  const double until = flight_.begin + std::max(again, options_.poll_seconds);
  const double waiting_since = parts_.clock();
  RETURN_IF_ERROR(keep_moving());
  while (!flight_.arrived && parts_.clock() < until) {
    std::this_thread::yield();
    RETURN_IF_ERROR(keep_moving());
  }
  timing_.exposed_seconds += parts_.clock() - waiting_since;
  return absl::OkStatus();
}

// Copies the rows behind our own ones and appends their pairs, rank by rank.
absl::Status ExpertExchange::receive_rows() {
  auto row = static_cast<size_t>(request_.rows);
  for (int from = 0; from < size_; ++from) {
    first_pair_from_[from] = groups_.pairs();
    pairs_from_[from] = 0;
    if (from == rank_) continue;
    DispatchReader reader;
    absl::Status status =
        reader.open(received_[from], row_bytes_, static_cast<size_t>(options_.max_rows));
    if (status.ok() && groups_.pairs() + reader.pairs() > groups_.max_pairs()) {
      status = absl::InvalidArgumentError("more expert rows than the group's step allows");
    }
    size_t pair = 0;
    for (size_t r = 0; status.ok() && r < reader.rows(); ++r) {
      for (uint32_t i = 0; i < reader.experts_of_row(r); ++i) {
        const int32_t expert = reader.expert(pair++);
        if (expert < 0 || expert >= experts_ ||
            !parts_.experts->placed(request_.weights->moe_index, expert)) {
          status = absl::InvalidArgumentError(
              absl::StrCat("expert ", expert, " does not live here; the ranks' placements differ"));
          break;
        }
        groups_.add(expert, static_cast<int32_t>(row + r));
      }
    }
    if (!status.ok()) {
      return absl::InternalError(absl::StrCat(
          "rank ", from, " (host ", parts_.communicator->host(from), ") sent rank ", rank_,
          " a bad dispatch for layer ", request_.layer, ": ", status.message()));
    }
    if (reader.rows() > 0) {
      std::memcpy(input_rows_ + row * row_bytes_, reader.row_data(), reader.rows() * row_bytes_);
    }
    row += reader.rows();
    pairs_from_[from] = reader.pairs();
    timing_.rows_served += static_cast<int64_t>(reader.rows());
    timing_.bytes_returned += static_cast<int64_t>(reader.pairs() * row_bytes_);
  }
  return absl::OkStatus();
}

// Runs the groups; the experts below the one it returns are done.
absl::StatusOr<int32_t> ExpertExchange::compute(const ExpertRunner::Between* between) {
  if (groups_.experts().empty()) return experts_;
  const kernels::MatrixView output{output_rows_, parts_.kernels->act_dtype(),
                                   static_cast<int64_t>(groups_.pairs()), options_.hidden,
                                   options_.hidden};
  ASSIGN_OR_RETURN(
      const size_t done,
      runner_.run(request_.weights->moe_index, groups_,
                  input(options_.max_rows * static_cast<int64_t>(size_)), output, between));
  return done == groups_.experts().size() ? experts_ : groups_.experts()[done];
}

absl::Status ExpertExchange::compute_shared(bool keep_moving) {
  if (shared_done_) return absl::OkStatus();
  shared_done_ = true;
  if (request_.rows == 0) return absl::OkStatus();
  kernels::KernelSet& kernels = *parts_.kernels;
  const kernels::MatrixView output{shared_rows_, kernels.act_dtype(), request_.rows,
                                   options_.hidden, options_.hidden};
  const std::span<const int32_t> rows(own_rows_.data(), static_cast<size_t>(request_.rows));
  const kernels::ExpertGroup group{&request_.weights->shared, rows, rows};
  kernels.expert_ffn({&group, 1}, input(request_.rows), output);
  if (request_.weights->shared_gate.data != nullptr) {
    kernels.matmul(input(request_.rows), request_.weights->shared_gate, nullptr,
                   {shared_gate_, DType::kF32, request_.rows, 1, 1});
  }
  return keep_moving ? this->keep_moving() : absl::OkStatus();
}

absl::Status ExpertExchange::return_rows() {
  for (int to = 0; to < size_; ++to) {
    send_[to] = {output_rows_ + first_pair_from_[to] * row_bytes_, pairs_from_[to] * row_bytes_};
  }
  send_[rank_] = {};
  parts_.progress->enter("return", request_.layer);
  RETURN_IF_ERROR(begin("combine"));
  if (options_.overlap != OverlapMode::kOff) {
    RETURN_IF_ERROR(compute_shared(/*keep_moving=*/true));
  }
  parts_.progress->enter("combine wait", request_.layer);
  RETURN_IF_ERROR(finish());
  for (int from = 0; from < size_; ++from) {
    if (from == rank_ || received_[from].size() == pairs_to_[from] * row_bytes_) continue;
    return absl::InternalError(
        absl::StrCat("rank ", from, " (host ", parts_.communicator->host(from), ") returned ",
                     received_[from].size(), " bytes of expert rows for layer ", request_.layer,
                     " instead of ", pairs_to_[from] * row_bytes_));
  }
  return compute_shared(/*keep_moving=*/false);
}

void ExpertExchange::add_up(const kernels::MatrixView& out) {
  if (request_.rows == 0) return;
  const DType act = parts_.kernels->act_dtype();
  const int64_t hidden = options_.hidden;
  sources_[0] = {output_rows_, act, static_cast<int64_t>(groups_.pairs()), hidden, hidden};
  for (int from = 0; from < size_; ++from) {
    const int64_t pairs = alone() ? 0 : static_cast<int64_t>(pairs_to_[from]);
    sources_[1 + from] = {alone() ? nullptr : received_[from].data(), act, pairs, hidden, hidden};
  }
  const auto pairs = static_cast<size_t>(request_.rows * options_.top_k);
  kernels::CombineInput input;
  input.sources = sources_;
  input.source_of = std::span<const int32_t>(source_of_).first(pairs);
  input.row_of = std::span<const int32_t>(row_of_).first(pairs);
  input.weights = request_.expert_weights;
  input.top_k = options_.top_k;
  if (request_.weights->has_shared) {
    input.shared = {shared_rows_, act, request_.rows, hidden, hidden};
    if (request_.weights->shared_gate.data != nullptr) input.shared_gate = shared_gate_;
  }
  parts_.kernels->combine(input, out);
}

absl::Status ExpertExchange::begin(std::string_view operation) {
  flight_ = Flight{};
  flight_.combines = operation == "combine";
  flight_.begin = parts_.clock();
  ASSIGN_OR_RETURN(flight_.ticket, parts_.communicator->begin_exchange(context(operation), send_));
  flight_.open = true;
  for (int to = 0; to < size_; ++to) {
    if (to == rank_) continue;
    timing_.bytes_sent += static_cast<int64_t>(send_[to].size());
    ++timing_.messages_sent;
  }
  return absl::OkStatus();
}

absl::Status ExpertExchange::keep_moving() {
  if (!flight_.open || flight_.arrived) return absl::OkStatus();
  ASSIGN_OR_RETURN(flight_.arrived, parts_.communicator->progress(flight_.ticket));
  if (flight_.arrived) note_arrival(parts_.clock());
  return absl::OkStatus();
}

void ExpertExchange::note_arrival(double now) {
  timing_.exchange_seconds += now - flight_.begin;
  if (flight_.combines) timing_.combine_seconds += now - flight_.begin;
}

absl::Status ExpertExchange::finish() {
  const double waiting_since = parts_.clock();
  RETURN_IF_ERROR(parts_.communicator->finish_exchange(flight_.ticket, received_));
  const double now = parts_.clock();
  if (!flight_.arrived) {
    note_arrival(now);
    timing_.exposed_seconds += now - waiting_since;
    flight_.arrived = true;
  }
  return absl::OkStatus();
}

void ExpertExchange::land() {
  if (flight_.open) parts_.communicator->release_exchange(flight_.ticket);
  flight_.open = false;
}

}  // namespace conclave::worker
