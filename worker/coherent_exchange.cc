#include "worker/coherent_exchange.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr size_t kMaxReservedMessageBytes = size_t{256}
                                            << 20;  // larger messages make comm allocate

CoherentShape shape_of(const CoherentExchange::Options& options, size_t act_bytes, int32_t states) {
  CoherentShape shape;
  shape.top_k = static_cast<size_t>(options.top_k);
  shape.row_bytes = static_cast<size_t>(options.hidden) * act_bytes;
  shape.state_bytes = static_cast<size_t>(states) * static_cast<size_t>(options.hidden) * 4;
  return shape;
}

}  // namespace

CoherentExchange::CoherentExchange(const Parts& parts, const Options& options, int32_t states)
    : parts_(parts),
      options_(options),
      rank_(parts.communicator->rank()),
      size_(parts.communicator->size()),
      experts_(parts.table->experts()),
      shape_(shape_of(options, dtype_bytes(parts.kernels->act_dtype()), states)),
      cost_(options.expert, options.rates),
      groups_(experts_, static_cast<size_t>(options.max_rows) * static_cast<size_t>(size_) *
                            static_cast<size_t>(options.top_k)),
      runner_(parts.kernels, parts.experts, &cost_, &parts_.clock,
              {experts_, ExpertExchange::max_call_rows(options.max_rows, options.top_k)}) {}

absl::StatusOr<std::unique_ptr<CoherentExchange>> CoherentExchange::create(const Parts& parts,
                                                                           const Options& options,
                                                                           int32_t states) {
  std::unique_ptr<CoherentExchange> exchange(new CoherentExchange(parts, options, states));
  RETURN_IF_ERROR(exchange->reserve());
  return exchange;
}

void CoherentExchange::lay_out(RegionCursor* cursor) {
  const auto rows = static_cast<size_t>(options_.max_rows);
  const size_t pairs = rows * shape_.top_k;
  input_rows_ = cursor->take(rows * static_cast<size_t>(size_) * shape_.row_bytes);
  output_rows_ = cursor->take(groups_.max_pairs() * shape_.row_bytes);
  shared_in_ = cursor->take(rows * shape_.row_bytes);
  shared_rows_ = cursor->take(rows * shape_.row_bytes);
  shared_gate_ = cursor->take_array<float>(rows);
  for (std::byte*& memory : send_memory_) {
    memory = cursor->take(coherent_message_bytes(shape_, {rows, pairs, rows}));
  }
  for (std::byte*& memory : return_memory_) {
    memory = cursor->take(groups_.max_pairs() * shape_.row_bytes);
  }
}

absl::Status CoherentExchange::reserve() {
  const auto ranks = static_cast<size_t>(size_);
  send_memory_.resize(ranks);
  return_memory_.resize(ranks);
  RegionCursor measure(nullptr);
  lay_out(&measure);
  ASSIGN_OR_RETURN(memory_, HostRegion::create(measure.used(), "the coherent exchange"));
  RegionCursor cursor(memory_.data());
  lay_out(&cursor);

  const placement::PlacementTable& table = *parts_.table;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t from = 0; from < size_; ++from) {
      for (int32_t expert = 0; expert < experts_; ++expert) {
        owners_.push_back(table.serving_rank(layer, expert, from));
      }
    }
  }
  const auto rows = static_cast<size_t>(options_.max_rows);
  const size_t pairs = rows * shape_.top_k;
  expert_rows_.resize(static_cast<size_t>(table.layers()));
  target_.resize(rows);
  pair_target_.resize(groups_.max_pairs());
  own_pair_row_.resize(pairs);
  for (auto* counts : {&first_pair_from_, &pairs_from_, &return_bytes_}) counts->resize(ranks);
  counts_to_.resize(ranks);
  last_row_to_.resize(ranks);
  writers_.resize(ranks);
  send_.resize(ranks);
  received_.resize(ranks);
  arrivals_.reserve(rows);
  result_ids_.reserve(pairs);
  result_weights_.reserve(pairs);
  source_of_.resize(pairs);
  row_of_.resize(pairs);
  local_cursor_.resize(rows * ranks);
  block_.resize(ranks * ranks);
  shared_inputs_.resize(rows);
  shared_outputs_.resize(rows);
  std::iota(shared_outputs_.begin(), shared_outputs_.end(), 0);
  sources_.resize(ranks + 1);
  const size_t largest = std::max(coherent_message_bytes(shape_, {rows, pairs, rows}),
                                  rows * shape_.top_k * shape_.row_bytes);
  return parts_.communicator->reserve(std::min(largest, kMaxReservedMessageBytes), 2);
}

void CoherentExchange::set_holders(int32_t moe_layer,
                                   const std::vector<std::vector<int32_t>>& holders) {
  int32_t* owner = owners_.data() + static_cast<size_t>(moe_layer) * static_cast<size_t>(size_) *
                                        static_cast<size_t>(experts_);
  for (int32_t from = 0; from < size_; ++from) {
    for (const auto& where : holders)
      *owner++ = placement::serving_rank(where, from, parts_.table->node_of());
  }
}

void CoherentExchange::reset_timing() {
  timing_ = Timing{};
  for (size_t plan = 0; plan < 2; ++plan) {
    for (size_t direction = 0; direction < 2; ++direction) {
      timing_.traffic[plan][direction].plan = static_cast<protocol::TrafficPlan>(plan);
      timing_.traffic[plan][direction].direction =
          static_cast<protocol::TrafficDirection>(direction);
    }
  }
  std::fill(expert_rows_.begin(), expert_rows_.end(), 0);
}

kernels::MatrixView CoherentExchange::input(int64_t rows) const {
  return {input_rows_, parts_.kernels->act_dtype(), rows, options_.hidden, options_.hidden};
}

absl::Status CoherentExchange::run(const Layer& layer, Rows* rows, const kernels::MatrixView& out) {
  layer_ = &layer;
  rows_ = rows;
  layer_owners_ = owners_.data() + static_cast<size_t>(layer.weights->moe_index) *
                                       static_cast<size_t>(size_) * static_cast<size_t>(experts_);
  choose_targets();
  parts_.progress->enter("dispatch", layer.number);
  write_messages();
  RETURN_IF_ERROR(exchange("dispatch"));
  keep_stayers();
  RETURN_IF_ERROR(receive_rows());
  parts_.progress->enter("experts", layer.number);
  RETURN_IF_ERROR(compute_experts());
  compute_shared();
  if (layer.returns) {
    parts_.progress->enter("return", layer.number);
    write_returns();
    RETURN_IF_ERROR(exchange("combine"));
  } else {
    std::fill(received_.begin(), received_.end(), std::span<const std::byte>());
  }
  RETURN_IF_ERROR(locate_results());
  parts_.progress->enter("combine", layer.number);
  add_up({out.data, out.dtype, rows->count, out.cols, out.stride});
  return absl::OkStatus();
}

// Where each row goes, its pairs that are computed here, and how long the messages will be.
void CoherentExchange::choose_targets() {
  std::fill(counts_to_.begin(), counts_to_.end(), CoherentCounts{});
  std::fill(last_row_to_.begin(), last_row_to_.end(), -1);
  groups_.clear();
  const size_t k = shape_.top_k;
  for (int64_t row = 0; row < rows_->count; ++row) {
    const int32_t to =
        is_coherent(row) ? owner(rank_, (*rows_->leaders)[static_cast<size_t>(row)]) : rank_;
    target_[static_cast<size_t>(row)] = to;
    local_cursor_[static_cast<size_t>(row)] = static_cast<int32_t>(groups_.pairs());
    for (size_t pair = static_cast<size_t>(row) * k; pair < (static_cast<size_t>(row) + 1) * k;
         ++pair) {
      const int32_t expert = layer_->ids[pair];
      const auto at = static_cast<size_t>(owner(rank_, expert));
      if (static_cast<int>(at) == rank_) {
        pair_target_[groups_.pairs()] = to;
        own_pair_row_[groups_.pairs()] = static_cast<int32_t>(row);
        groups_.add(expert, static_cast<int32_t>(row));
        continue;
      }
      if (last_row_to_[at] != row) ++counts_to_[at].rows;
      last_row_to_[at] = row;
      ++counts_to_[at].pairs;
    }
    if (to != rank_) ++counts_to_[static_cast<size_t>(to)].moves;
  }
  first_pair_from_[static_cast<size_t>(rank_)] = 0;
  pairs_from_[static_cast<size_t>(rank_)] = groups_.pairs();
}

void CoherentExchange::write_messages() {
  for (size_t to = 0; to < send_.size(); ++to) {
    send_[to] = {send_memory_[to], coherent_message_bytes(shape_, counts_to_[to])};
    writers_[to] = CoherentWriter(send_memory_[to], shape_, counts_to_[to]);
  }
  std::fill(last_row_to_.begin(), last_row_to_.end(), -1);
  const size_t k = shape_.top_k;
  for (int64_t row = 0; row < rows_->count; ++row) {
    const auto r = static_cast<size_t>(row);
    const int32_t target = target_[r];
    int32_t row_in_message = -1;
    for (size_t pair = r * k; pair < (r + 1) * k; ++pair) {
      const auto to = static_cast<size_t>(owner(rank_, layer_->ids[pair]));
      if (static_cast<int>(to) == rank_) continue;
      if (last_row_to_[to] != row) {
        const int32_t added =
            writers_[to].add_row(input_rows_ + r * shape_.row_bytes, {target, is_coherent(row)});
        if (static_cast<int32_t>(to) == target) row_in_message = added;
        count_traffic(is_coherent(row), protocol::TrafficDirection::kDispatch, 1, shape_.row_bytes);
      }
      last_row_to_[to] = row;
      writers_[to].add_expert(layer_->ids[pair]);
    }
    if (target == rank_) continue;
    const size_t item = r - static_cast<size_t>(rows_->fixed);
    std::byte* state = writers_[static_cast<size_t>(target)].add_move(
        {row_in_message, (*rows_->items)[item], (*rows_->leaders)[r], layer_->ids.subspan(r * k, k),
         layer_->expert_weights.subspan(r * k, k)});
    const size_t bytes = static_cast<size_t>(options_.hidden) * 4;
    for (float* matrix : rows_->states) {
      std::memcpy(state, matrix + r * static_cast<size_t>(options_.hidden), bytes);
      state += bytes;
    }
    count_traffic(true, protocol::TrafficDirection::kDispatch, 0, shape_.state_bytes);
  }
}

absl::Status CoherentExchange::exchange(std::string_view operation) {
  send_[static_cast<size_t>(rank_)] = {};
  const comm::OpContext context{operation, layer_->number, layer_->step, layer_->deadline};
  const double begin = parts_.clock();
  ASSIGN_OR_RETURN(const comm::ExchangeTicket ticket,
                   parts_.communicator->begin_exchange(context, send_));
  for (int to = 0; to < size_; ++to) {
    if (to == rank_) continue;
    timing_.bytes_sent += static_cast<int64_t>(send_[static_cast<size_t>(to)].size());
    ++timing_.messages_sent;
  }
  const absl::Status finished = parts_.communicator->finish_exchange(ticket, received_);
  timing_.exchange_seconds += parts_.clock() - begin;
  timing_.exposed_seconds += parts_.clock() - begin;
  ticket_ = ticket;
  return finished;
}

// The result begins with the rows that stay, in their order; their states close the gaps.
void CoherentExchange::keep_stayers() {
  arrivals_.clear();
  result_ids_.clear();
  result_weights_.clear();
  const size_t k = shape_.top_k;
  const auto hidden = static_cast<size_t>(options_.hidden);
  size_t kept = 0;
  for (size_t row = 0; row < static_cast<size_t>(rows_->count); ++row) {
    if (target_[row] != rank_) continue;
    append_result(rank_, static_cast<int32_t>(row), layer_->ids.subspan(row * k, k),
                  layer_->expert_weights.subspan(row * k, k));
    if (kept != row) {
      const auto fixed = static_cast<size_t>(rows_->fixed);
      for (float* matrix : rows_->states) {
        std::memcpy(matrix + kept * hidden, matrix + row * hidden, hidden * 4);
      }
      (*rows_->items)[kept - fixed] = (*rows_->items)[row - fixed];
      (*rows_->leaders)[kept] = (*rows_->leaders)[row];
    }
    ++kept;
  }
  own_rows_ = rows_->count;
  rows_->count = static_cast<int64_t>(kept);
  rows_->items->resize(kept - static_cast<size_t>(rows_->fixed));
}

void CoherentExchange::append_result(int32_t origin, int32_t input_row,
                                     std::span<const int32_t> ids, std::span<const float> weights) {
  arrivals_.push_back({origin, input_row});
  result_ids_.insert(result_ids_.end(), ids.begin(), ids.end());
  result_weights_.insert(result_weights_.end(), weights.begin(), weights.end());
}

absl::Status CoherentExchange::receive_rows() {
  auto row = static_cast<size_t>(own_rows_);
  absl::Status status;
  for (int from = 0; from < size_ && status.ok(); ++from) {
    if (from != rank_) status = receive_from(from, &row);
    if (status.ok()) continue;
    status = absl::InternalError(absl::StrCat(
        "rank ", from, " (host ", parts_.communicator->host(from), ") sent rank ", rank_,
        " a bad dispatch for layer ", layer_->number, ": ", std::string(status.message())));
  }
  parts_.communicator->release_exchange(ticket_);
  return status;
}

absl::Status CoherentExchange::receive_from(int from, size_t* row) {
  const auto f = static_cast<size_t>(from);
  CoherentReader reader;
  RETURN_IF_ERROR(reader.open(received_[f], shape_, static_cast<size_t>(options_.max_rows)));
  const CoherentCounts& counts = reader.counts();
  first_pair_from_[f] = groups_.pairs();
  pairs_from_[f] = counts.pairs;
  if (groups_.pairs() + counts.pairs > groups_.max_pairs() ||
      static_cast<size_t>(rows_->count) + counts.moves > static_cast<size_t>(options_.max_rows)) {
    return absl::InvalidArgumentError("more rows than the group's step allows");
  }
  size_t pair = 0;
  for (size_t r = 0; r < counts.rows; ++r) {
    local_cursor_[*row + r] = static_cast<int32_t>(groups_.pairs());
    const RowTarget target = reader.target(r);
    if (target.rank < 0 || target.rank >= size_) {
      return absl::InvalidArgumentError(absl::StrCat("a row is for rank ", target.rank));
    }
    const uint32_t experts = reader.experts_of_row(r);
    for (uint32_t i = 0; i < experts; ++i) {
      const int32_t expert = reader.expert(pair++);
      if (expert < 0 || expert >= experts_ ||
          !parts_.experts->placed(layer_->weights->moe_index, expert)) {
        return absl::InvalidArgumentError(
            absl::StrCat("expert ", expert, " does not live here; the ranks' placements differ"));
      }
      pair_target_[groups_.pairs()] = target.rank;
      groups_.add(expert, static_cast<int32_t>(*row + r));
    }
    if (target.rank != rank_) {
      count_traffic(target.coherent, protocol::TrafficDirection::kReturn, 1,
                    experts * shape_.row_bytes);
    }
  }
  if (counts.rows > 0) {
    std::memcpy(input_rows_ + *row * shape_.row_bytes, reader.row_data(),
                counts.rows * shape_.row_bytes);
  }
  const auto hidden = static_cast<size_t>(options_.hidden);
  for (size_t m = 0; m < counts.moves; ++m) {
    const RowMove move = reader.move(m);
    append_result(from, static_cast<int32_t>(*row) + move.row, move.ids, move.weights);
    const auto at = static_cast<size_t>(rows_->count++);
    rows_->items->push_back(move.item);
    (*rows_->leaders)[at] = move.leader;
    const std::byte* state = reader.state(m);
    for (float* matrix : rows_->states) {
      std::memcpy(matrix + at * hidden, state, hidden * 4);
      state += hidden * 4;
    }
  }
  *row += counts.rows;
  return absl::OkStatus();
}

absl::Status CoherentExchange::compute_experts() {
  groups_.group_all();
  if (groups_.pairs() == 0) return absl::OkStatus();
  expert_rows_[static_cast<size_t>(layer_->weights->moe_index)] +=
      static_cast<int64_t>(groups_.pairs());
  const kernels::MatrixView output{output_rows_, parts_.kernels->act_dtype(),
                                   static_cast<int64_t>(groups_.pairs()), options_.hidden,
                                   options_.hidden};
  return runner_
      .run(layer_->weights->moe_index, groups_,
           input(options_.max_rows * static_cast<int64_t>(size_)), output, nullptr)
      .status();
}

// Of the rows of the result, wherever they came from.
void CoherentExchange::compute_shared() {
  if (!layer_->weights->has_shared || rows_->count == 0) return;
  kernels::KernelSet& kernels = *parts_.kernels;
  const auto count = static_cast<size_t>(rows_->count);
  for (size_t row = 0; row < count; ++row) {
    shared_inputs_[row] = arrivals_[row].input_row;
    std::memcpy(shared_in_ + row * shape_.row_bytes,
                input_rows_ + static_cast<size_t>(arrivals_[row].input_row) * shape_.row_bytes,
                shape_.row_bytes);
  }
  const DType act = kernels.act_dtype();
  const int64_t hidden = options_.hidden;
  const std::span<const int32_t> rows(shared_outputs_.data(), count);
  const kernels::ExpertGroup group{&layer_->weights->shared, rows, rows};
  const kernels::ConstMatrixView in(shared_in_, act, rows_->count, hidden, hidden);
  kernels.expert_ffn({&group, 1}, in, {shared_rows_, act, rows_->count, hidden, hidden});
  if (layer_->weights->shared_gate.data == nullptr) return;
  kernels.matmul(in, layer_->weights->shared_gate, nullptr,
                 {shared_gate_, DType::kF32, rows_->count, 1, 1});
}

// Each rank gets the rows that go to it, by origin and in the origin's order.
void CoherentExchange::write_returns() {
  std::fill(return_bytes_.begin(), return_bytes_.end(), 0);
  for (size_t from = 0; from < pairs_from_.size(); ++from) {
    for (size_t i = 0; i < pairs_from_[from]; ++i) {
      const size_t pair = first_pair_from_[from] + i;
      const auto to = static_cast<size_t>(pair_target_[pair]);
      if (static_cast<int>(to) == rank_) continue;
      std::memcpy(return_memory_[to] + return_bytes_[to], output_rows_ + pair * shape_.row_bytes,
                  shape_.row_bytes);
      return_bytes_[to] += shape_.row_bytes;
    }
  }
  // Rows that leave count when they go home as well: their own experts here send results after
  // them.
  int64_t last_row = -1;
  for (size_t pair = 0; pair < pairs_from_[static_cast<size_t>(rank_)]; ++pair) {
    if (pair_target_[pair] == rank_) continue;
    const int64_t row = own_pair_row_[pair];
    count_traffic(true, protocol::TrafficDirection::kReturn, row == last_row ? 0 : 1,
                  shape_.row_bytes);
    last_row = row;
  }
  for (size_t to = 0; to < send_.size(); ++to) send_[to] = {return_memory_[to], return_bytes_[to]};
}

// Repeats on this side what write_returns() did on the others: the k-th row of origin o from source
// s.
absl::Status CoherentExchange::locate_results() {
  const auto ranks = static_cast<size_t>(size_);
  const size_t k = shape_.top_k;
  std::fill(block_.begin(), block_.end(), 0);
  for (size_t row = 0; row < arrivals_.size(); ++row) {
    for (size_t i = row * k; i < (row + 1) * k; ++i) {
      const int32_t source = owner(arrivals_[row].origin, result_ids_[i]);
      ++block_[static_cast<size_t>(source) * ranks + static_cast<size_t>(arrivals_[row].origin)];
    }
  }
  for (size_t source = 0; source < ranks; ++source) {
    int32_t begin = 0;
    for (size_t origin = 0; origin < ranks; ++origin) {
      begin += std::exchange(block_[source * ranks + origin], begin);
    }
    const size_t expected = static_cast<size_t>(begin) * shape_.row_bytes;
    if (static_cast<int>(source) == rank_ || received_[source].size() == expected) continue;
    return absl::InternalError(absl::StrCat(
        "rank ", source, " (host ", parts_.communicator->host(static_cast<int>(source)),
        ") returned ", received_[source].size(), " bytes of expert rows for layer ", layer_->number,
        " instead of ", expected));
  }
  for (size_t row = 0; row < arrivals_.size(); ++row) {
    const Arrival& arrival = arrivals_[row];
    for (size_t i = row * k; i < (row + 1) * k; ++i) {
      const int32_t source = owner(arrival.origin, result_ids_[i]);
      if (source == rank_) {
        source_of_[i] = 0;
        row_of_[i] = local_cursor_[static_cast<size_t>(arrival.input_row)]++;
      } else {
        source_of_[i] = 1 + source;
        row_of_[i] =
            block_[static_cast<size_t>(source) * ranks + static_cast<size_t>(arrival.origin)]++;
      }
    }
  }
  return absl::OkStatus();
}

void CoherentExchange::add_up(const kernels::MatrixView& out) {
  const DType act = parts_.kernels->act_dtype();
  const int64_t hidden = options_.hidden;
  if (rows_->count > 0) {
    sources_[0] = {output_rows_, act, static_cast<int64_t>(groups_.pairs()), hidden, hidden};
    for (size_t from = 0; from < received_.size(); ++from) {
      const auto rows = static_cast<int64_t>(received_[from].size() / shape_.row_bytes);
      sources_[1 + from] = {received_[from].data(), act, rows, hidden, hidden};
    }
    kernels::CombineInput input;
    const auto pairs = static_cast<size_t>(rows_->count) * shape_.top_k;
    input.sources = sources_;
    input.source_of = std::span<const int32_t>(source_of_).first(pairs);
    input.row_of = std::span<const int32_t>(row_of_).first(pairs);
    input.weights = result_weights_;
    input.top_k = options_.top_k;
    if (layer_->weights->has_shared) {
      input.shared = {shared_rows_, act, rows_->count, hidden, hidden};
      if (layer_->weights->shared_gate.data != nullptr) input.shared_gate = shared_gate_;
    }
    parts_.kernels->combine(input, out);
  }
  if (layer_->returns) parts_.communicator->release_exchange(ticket_);
}

void CoherentExchange::count_traffic(bool coherent, protocol::TrafficDirection direction,
                                     int64_t messages, size_t bytes) {
  protocol::Traffic& traffic = timing_.traffic[coherent ? 1 : 0][static_cast<size_t>(direction)];
  traffic.messages += messages;
  traffic.bytes += static_cast<int64_t>(bytes);
}

}  // namespace conclave::worker
