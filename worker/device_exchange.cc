#include "worker/device_exchange.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr int64_t kBootstrapDeadlineMs = 60 * 1000;

// An all-gather of small blocks over the group's own transport, in the form the back end takes.
int32_t all_gather(void* user, const void* own, void* all, size_t bytes_per_rank) {
  auto* communicator = static_cast<comm::Communicator*>(user);
  const comm::OpContext context{"device bootstrap", -1, -1,
                                Deadline::after_ms(kBootstrapDeadlineMs)};
  auto gathered =
      communicator->gather(context, 0, {static_cast<const std::byte*>(own), bytes_per_rank});
  if (!gathered.ok()) return 1;
  std::vector<std::byte> bytes;
  for (const std::vector<std::byte>& part : *gathered) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  // Rank 0's own block may come back empty: gather() hands it what the others sent.
  const size_t expected = bytes_per_rank * static_cast<size_t>(communicator->size());
  if (communicator->rank() == 0 && bytes.size() + bytes_per_rank == expected) {
    const auto* block = static_cast<const std::byte*>(own);
    bytes.insert(bytes.begin(), block, block + bytes_per_rank);
  }
  if (!communicator->broadcast(context, 0, &bytes).ok() || bytes.size() != expected) return 1;
  std::memcpy(all, bytes.data(), expected);
  return 0;
}

}  // namespace

DeviceExchange::DeviceExchange(const device::Device* device, comm::Communicator* communicator,
                               const Options& options)
    : device_(device),
      communicator_(communicator),
      options_(options),
      rank_(communicator->rank()),
      size_(communicator->size()),
      row_bytes_(static_cast<size_t>(options.hidden) * dtype_bytes(device->act_dtype())) {}

DeviceExchange::~DeviceExchange() {
  if (comm_ != nullptr) device_->ops().comm_destroy(device_->context(), comm_);
}

absl::StatusOr<std::unique_ptr<DeviceExchange>> DeviceExchange::create(
    const device::Device* device, comm::Communicator* communicator,
    const placement::PlacementTable& table, const Options& options) {
  std::unique_ptr<DeviceExchange> exchange(new DeviceExchange(device, communicator, options));
  RETURN_IF_ERROR(exchange->connect());
  RETURN_IF_ERROR(exchange->reserve(table));
  return exchange;
}

absl::Status DeviceExchange::connect() {
  const device::CommBootstrap bootstrap{rank_, size_, all_gather, communicator_};
  return device_->check(
      device_->ops().comm_create(device_->context(), &bootstrap, options_.kind, &comm_));
}

absl::Status DeviceExchange::reserve(const placement::PlacementTable& table) {
  const device::DeviceOps& ops = device_->ops();
  device::Context* context = device_->context();
  const size_t rows = static_cast<size_t>(options_.max_rows) * static_cast<size_t>(size_);
  const size_t pairs = rows * static_cast<size_t>(options_.top_k);
  const auto take = [&](size_t bytes, void* out) {
    return device_->check(ops.comm_alloc(context, comm_, bytes, static_cast<void**>(out)));
  };
  RETURN_IF_ERROR(take(rows * row_bytes_, &rows_));
  RETURN_IF_ERROR(take(pairs * sizeof(int32_t), &ids_));
  RETURN_IF_ERROR(take(pairs * row_bytes_, &pair_rows_));
  RETURN_IF_ERROR(take(pairs * row_bytes_, &home_rows_));

  experts_ = table.experts();
  std::vector<int32_t> owner;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t home = 0; home < size_; ++home) {
      for (int32_t expert = 0; expert < experts_; ++expert) {
        owner.push_back(table.serving_rank(layer, expert, home));
      }
    }
  }
  const size_t bytes = owner.size() * sizeof(int32_t);
  ASSIGN_OR_RETURN(owners_, device_->alloc(bytes, "the placement"));
  ASSIGN_OR_RETURN(const device::OwnedStream stream, device_->make_stream(false));
  RETURN_IF_ERROR(
      device_->check(ops.copy(context, stream.get(), owners_.data(), owner.data(), bytes)));
  return device_->check(ops.stream_synchronize(context, stream.get()));
}

absl::Status DeviceExchange::gather(device::Stream* stream, int32_t bound, const int32_t* ids) {
  const auto rows = static_cast<size_t>(bound);
  const device::GatherPart parts[] = {
      {this->rows(bound), rows_, rows * row_bytes_},
      {ids, ids_, rows * static_cast<size_t>(options_.top_k) * sizeof(int32_t)}};
  return device_->check(
      device_->ops().comm_all_gather(device_->context(), stream, comm_, parts, 2));
}

device::ExpertOwners DeviceExchange::owners(int32_t moe_layer, int32_t bound) const {
  const auto* all = reinterpret_cast<const int32_t*>(owners_.data());
  return {all + int64_t{moe_layer} * size_ * experts_, rank_, bound};
}

absl::Status DeviceExchange::send_home(device::Stream* stream, int32_t bound,
                                       const device::ExpertLists& lists) {
  return device_->check(device_->ops().comm_all_to_all(
      device_->context(), stream, comm_, pair_rows_, home_rows_, bound * options_.top_k, row_bytes_,
      lists.pairs, lists.offsets + experts_));
}

device::CombineSources DeviceExchange::sources(int32_t moe_layer, int32_t bound) const {
  const auto* all = reinterpret_cast<const int32_t*>(owners_.data());
  const int64_t own = int64_t{rank_} * bound * options_.top_k;
  return {pair_rows_ + static_cast<size_t>(own) * row_bytes_, home_rows_,
          all + (int64_t{moe_layer} * size_ + rank_) * experts_, rank_};
}

absl::Status DeviceExchange::check() const {
  int32_t peer = -1;
  const device::Status status = device_->ops().comm_check(device_->context(), comm_, &peer);
  if (status == device::kOk) return absl::OkStatus();
  const absl::Status reason = device_->check(status);
  if (peer < 0) return reason;
  return absl::UnavailableError(absl::StrCat("rank ", peer, " (host ", communicator_->host(peer),
                                             ") does not answer: ", reason.message()));
}

void DeviceExchange::abort() const { device_->ops().comm_abort(device_->context(), comm_); }

std::string_view DeviceExchange::name() const {
  return device_->ops().comm_name(device_->context(), comm_);
}

int64_t DeviceExchange::bytes_per_layer(int32_t bound) const {
  const int64_t row = static_cast<int64_t>(row_bytes_);
  return int64_t{bound} * (size_ - 1) * (row * (1 + options_.top_k) + 4 * options_.top_k);
}

}  // namespace conclave::worker
