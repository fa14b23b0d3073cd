#include "worker/exchange_calibration.h"

#include <algorithm>
#include <vector>

#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr int kSmallRounds = 40;
constexpr int kLargeRounds = 8;
constexpr size_t kSmallBytes = 64;
constexpr size_t kLargeBytes = size_t{1} << 20;
constexpr int64_t kDeadlineMs = 60 * 1000;  // the other ranks may still load

// The median: whoever shares the machine must not count.
absl::StatusOr<double> median_seconds(comm::Communicator* communicator, const WorkerClock& clock,
                                      size_t bytes, int rounds) {
  const std::vector<std::byte> payload(bytes);
  const auto ranks = static_cast<size_t>(communicator->size());
  std::vector<std::span<const std::byte>> send(ranks, payload);
  std::vector<std::span<const std::byte>> received(ranks);
  send[static_cast<size_t>(communicator->rank())] = {};
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    const comm::OpContext context{"calibration", -1, -1, Deadline::after_ms(kDeadlineMs)};
    const double begin = clock();
    ASSIGN_OR_RETURN(const comm::ExchangeTicket ticket,
                     communicator->begin_exchange(context, send));
    RETURN_IF_ERROR(communicator->finish_exchange(ticket, received));
    seconds.push_back(clock() - begin);
    communicator->release_exchange(ticket);
  }
  std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
  return seconds[static_cast<size_t>(rounds) / 2];
}

}  // namespace

absl::StatusOr<ExchangeFigures> calibrate_exchange(comm::Communicator* communicator,
                                                   const WorkerClock& clock) {
  ExchangeFigures figures;
  if (communicator->size() == 1) return figures;
  ASSIGN_OR_RETURN(const double small,
                   median_seconds(communicator, clock, kSmallBytes, kSmallRounds));
  ASSIGN_OR_RETURN(const double large,
                   median_seconds(communicator, clock, kLargeBytes, kLargeRounds));
  const double bytes = static_cast<double>(kLargeBytes - kSmallBytes) * (communicator->size() - 1);
  figures.latency_seconds = small;
  figures.bytes_per_second = bytes / std::max(large - small, 1e-9);
  return figures;
}

}  // namespace conclave::worker
