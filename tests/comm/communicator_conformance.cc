#include "tests/comm/communicator_conformance.h"

#include <sys/resource.h>

#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "tests/comm/allocation_count.h"

namespace conclave::comm {
namespace {

constexpr int64_t kPatienceMs = 60000;  // of collectives that must succeed

OpContext operation(std::string_view name, int64_t step) {
  return OpContext{name, /*layer=*/3, step, Deadline::after_ms(kPatienceMs)};
}

absl::Status mismatch(const std::string& what) { return absl::InternalError(what); }

// Bytes that only the right message of the right exchange has.
void fill(std::vector<std::byte>* bytes, size_t size, int from, int to, int64_t step) {
  bytes->resize(size);
  auto state = static_cast<uint32_t>(from * 7919 + to * 104729 + step * 1299709 + 1);
  for (std::byte& b : *bytes) {
    state = state * 1664525u + 1013904223u;
    b = static_cast<std::byte>(state >> 24);
  }
}

// Equal on all ranks: mostly small, some empty, some of several MB.
size_t size_of(int from, int to, int64_t step) {
  std::mt19937_64 random(static_cast<uint64_t>(step * 4099 + from * 64 + to));
  const uint64_t kind = random() % 16;
  if (kind < 3) return 0;
  if (kind == 3) return 1;
  if (kind == 4) return 65536 + random() % 131072;
  if (kind == 5 && step % 8 == 0) return 2'000'000 + random() % 2'000'000;
  return random() % 5000;
}

struct Outgoing {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<std::span<const std::byte>> views;
};

Outgoing outgoing(const Communicator& communicator, int64_t step) {
  Outgoing out;
  out.bytes.resize(static_cast<size_t>(communicator.size()));
  for (int to = 0; to < communicator.size(); ++to) {
    fill(&out.bytes[to], size_of(communicator.rank(), to, step), communicator.rank(), to, step);
  }
  out.views.assign(out.bytes.begin(), out.bytes.end());
  return out;
}

absl::Status check_received(const Communicator& communicator, int64_t step,
                            std::span<const std::span<const std::byte>> received) {
  std::vector<std::byte> want;
  for (int from = 0; from < communicator.size(); ++from) {
    const std::string where =
        " from rank " + std::to_string(from) + " in step " + std::to_string(step);
    if (from == communicator.rank()) {
      if (!received[from].empty()) return mismatch("own entry is not empty");
      continue;
    }
    fill(&want, size_of(from, communicator.rank(), step), from, communicator.rank(), step);
    if (received[from].size() != want.size()) {
      return mismatch("got " + std::to_string(received[from].size()) + " bytes" + where +
                      ", want " + std::to_string(want.size()));
    }
    if (!want.empty() && std::memcmp(received[from].data(), want.data(), want.size()) != 0) {
      return mismatch("wrong bytes" + where);
    }
  }
  return absl::OkStatus();
}

absl::Status exchanges_deliver_exact_bytes(const ConformanceContext& test) {
  Communicator& comm = *test.communicator;
  RETURN_IF_ERROR(comm.reserve(65536, 1));  // larger messages must grow the buffers
  std::vector<std::span<const std::byte>> received(static_cast<size_t>(comm.size()));
  for (int64_t step = 0; step < 60; ++step) {
    const Outgoing out = outgoing(comm, step);
    ASSIGN_OR_RETURN(const ExchangeTicket ticket,
                     comm.begin_exchange(operation("dispatch", step), out.views));
    if (step % 3 == 0) {
      RETURN_IF_ERROR(comm.progress(ticket).status());
    }
    RETURN_IF_ERROR(comm.finish_exchange(ticket, received));
    RETURN_IF_ERROR(check_received(comm, step, received));
    comm.release_exchange(ticket);
  }
  return absl::OkStatus();
}

absl::Status several_exchanges_are_in_flight(const ConformanceContext& test) {
  Communicator& comm = *test.communicator;
  constexpr int kInFlight = 3;
  RETURN_IF_ERROR(comm.reserve(8192, kInFlight));
  std::vector<std::vector<std::span<const std::byte>>> received(
      kInFlight, std::vector<std::span<const std::byte>>(static_cast<size_t>(comm.size())));
  for (int64_t round = 0; round < 12; ++round) {
    std::vector<Outgoing> out;
    std::vector<ExchangeTicket> tickets;
    for (int i = 0; i < kInFlight; ++i) {
      const int64_t step = 1000 + round * kInFlight + i;
      out.push_back(outgoing(comm, step));
      ASSIGN_OR_RETURN(tickets.emplace_back(),
                       comm.begin_exchange(operation("dispatch", step), out.back().views));
    }
    // Each rank finishes in another order, and all results are valid at the same time.
    for (int k = 0; k < kInFlight; ++k) {
      const int i = (k + comm.rank() + static_cast<int>(round)) % kInFlight;
      RETURN_IF_ERROR(comm.finish_exchange(tickets[i], received[i]));
    }
    for (int i = 0; i < kInFlight; ++i) {
      RETURN_IF_ERROR(check_received(comm, 1000 + round * kInFlight + i, received[i]));
      comm.release_exchange(tickets[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status progress_alone_completes_an_exchange(const ConformanceContext& test) {
  Communicator& comm = *test.communicator;
  const Outgoing out = outgoing(comm, /*step=*/8);
  ASSIGN_OR_RETURN(const ExchangeTicket ticket,
                   comm.begin_exchange(operation("dispatch", 8), out.views));
  const Deadline patience = Deadline::after_ms(kPatienceMs);
  bool done = false;
  while (!done && !patience.expired()) {
    ASSIGN_OR_RETURN(done, comm.progress(ticket));
  }
  if (!done) return mismatch("progress() never reported the exchange complete");
  std::vector<std::span<const std::byte>> received(static_cast<size_t>(comm.size()));
  RETURN_IF_ERROR(comm.finish_exchange(ticket, received));
  RETURN_IF_ERROR(check_received(comm, 8, received));
  comm.release_exchange(ticket);
  if (comm.progress(ticket).status().code() != absl::StatusCode::kInvalidArgument) {
    return mismatch("a released ticket was accepted");
  }
  return absl::OkStatus();
}

absl::Status broadcast_reaches_all_from_any_root(const ConformanceContext& test) {
  Communicator& comm = *test.communicator;
  std::vector<std::byte> bytes;
  std::vector<std::byte> want;
  int64_t step = 0;
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{700}, size_t{300'000}, size_t{3'000'000}}) {
    for (int root = 0; root < comm.size(); ++root, ++step) {
      fill(&want, size, root, 0, step);
      if (comm.rank() == root) bytes = want;
      RETURN_IF_ERROR(comm.broadcast(operation("plan broadcast", step), root, &bytes));
      if (bytes != want) {
        return mismatch("broadcast of " + std::to_string(size) + " bytes from rank " +
                        std::to_string(root) + " brought other bytes");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status gather_returns_rank_order_on_the_root(const ConformanceContext& test) {
  Communicator& comm = *test.communicator;
  std::vector<std::byte> mine;
  std::vector<std::byte> want;
  for (int64_t step = 0; step < 10; ++step) {
    const int root = static_cast<int>(step) % comm.size();
    fill(&mine, size_of(comm.rank(), root, step), comm.rank(), root, step);
    ASSIGN_OR_RETURN(const auto gathered, comm.gather(operation("results", step), root, mine));
    if (comm.rank() != root) {
      if (!gathered.empty()) return mismatch("a rank that is not the root got something");
      continue;
    }
    if (gathered.size() != static_cast<size_t>(comm.size())) return mismatch("entries missing");
    for (int from = 0; from < comm.size(); ++from) {
      fill(&want, size_of(from, root, step), from, root, step);
      if (gathered[from] != want) {
        return mismatch("wrong bytes from rank " + std::to_string(from));
      }
    }
  }
  return absl::OkStatus();
}

// Mixed with exchanges in flight, so that a confusion of tags would show.
absl::Status collectives_mix_with_exchanges_in_flight(const ConformanceContext& test) {
  Communicator& comm = *test.communicator;
  std::vector<std::span<const std::byte>> received(static_cast<size_t>(comm.size()));
  for (int64_t step = 0; step < 20; ++step) {
    const Outgoing out = outgoing(comm, step);
    ASSIGN_OR_RETURN(const ExchangeTicket ticket,
                     comm.begin_exchange(operation("combine", step), out.views));
    std::vector<std::byte> plan;
    if (comm.rank() == 0) fill(&plan, 100, 0, 0, step);
    RETURN_IF_ERROR(comm.broadcast(operation("plan broadcast", step), 0, &plan));
    RETURN_IF_ERROR(comm.barrier(operation("barrier", step)));
    RETURN_IF_ERROR(comm.gather(operation("results", step), 0, plan).status());
    RETURN_IF_ERROR(comm.finish_exchange(ticket, received));
    RETURN_IF_ERROR(check_received(comm, step, received));
    comm.release_exchange(ticket);
    if (plan.size() != 100) return mismatch("the broadcast took another message");
  }
  return absl::OkStatus();
}

// More collectives of each kind than there are tags for it.
absl::Status tags_wrap_around(const ConformanceContext& test) {
  ASSIGN_OR_RETURN(const auto comm, test.make_communicator());
  std::vector<std::span<const std::byte>> none(static_cast<size_t>(comm->size()));
  std::vector<std::span<const std::byte>> received(static_cast<size_t>(comm->size()));
  const int64_t rounds = comm->size() > 2 ? 500 : 9000;
  for (int64_t step = 0; step < rounds; ++step) {
    std::byte value = static_cast<std::byte>(step * 31 + comm->rank());
    std::fill(none.begin(), none.end(), std::span<const std::byte>(&value, 1));
    ASSIGN_OR_RETURN(const ExchangeTicket ticket,
                     comm->begin_exchange(operation("dispatch", step), none));
    RETURN_IF_ERROR(comm->finish_exchange(ticket, received));
    for (int from = 0; from < comm->size(); ++from) {
      if (from == comm->rank()) continue;
      if (received[from].size() != 1 ||
          received[from][0] != static_cast<std::byte>(step * 31 + from)) {
        return mismatch("step " + std::to_string(step) + " got the message of another step");
      }
    }
    comm->release_exchange(ticket);
  }
  return absl::OkStatus();
}

absl::Status steady_state_does_not_allocate(const ConformanceContext& test) {
  ASSIGN_OR_RETURN(const auto comm, test.make_communicator());
  RETURN_IF_ERROR(comm->reserve(100'000, 2));
  RETURN_IF_ERROR(comm->barrier(operation("barrier", 0)));  // all have reserved
  const auto size = static_cast<size_t>(comm->size());
  std::vector<std::byte> data(100'000, std::byte{7});
  std::vector<std::byte> plan(5'000);
  std::vector<std::span<const std::byte>> send(size);
  std::vector<std::span<const std::byte>> first(size);
  std::vector<std::span<const std::byte>> second(size);
  std::optional<int64_t> before;
  for (int64_t step = 0; step < 200; ++step) {
    // The first steps size what only broadcasts use.
    if (step == 8) before = allocation_count();
    for (size_t to = 0; to < size; ++to) {
      send[to] = std::span(data).first((static_cast<size_t>(step) * 977 + to * 31337) % 100'001);
    }
    ASSIGN_OR_RETURN(const ExchangeTicket a,
                     comm->begin_exchange(operation("dispatch", step), send));
    ASSIGN_OR_RETURN(const ExchangeTicket b,
                     comm->begin_exchange(operation("combine", step), send));
    RETURN_IF_ERROR(comm->broadcast(operation("plan broadcast", step), 0, &plan));
    RETURN_IF_ERROR(comm->progress(b).status());
    RETURN_IF_ERROR(comm->finish_exchange(a, first));
    RETURN_IF_ERROR(comm->finish_exchange(b, second));
    comm->release_exchange(a);
    comm->release_exchange(b);
    RETURN_IF_ERROR(comm->barrier(operation("barrier", step)));
  }
  const std::optional<int64_t> after = allocation_count();
  if (after != before) {
    return mismatch(std::to_string(*after - *before) + " allocations in 192 steady steps");
  }
  return absl::OkStatus();
}

absl::Status expect_named(const absl::Status& status, const std::vector<std::string>& parts) {
  const std::string text(status.message());
  if (status.code() != absl::StatusCode::kDeadlineExceeded) {
    return mismatch("expected DEADLINE_EXCEEDED, got: " + status.ToString());
  }
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) {
      return mismatch("the error does not say '" + part + "': " + text);
    }
  }
  return absl::OkStatus();
}

std::string named(const Communicator& communicator, int rank) {
  return "rank " + std::to_string(rank) + " (host " + communicator.host(rank) + ")";
}

double thread_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// The last rank takes no part; the others' wait ends with an error that names it, costs little
// processor time while it lasts, and leaves the communicator broken.
absl::Status deadline_names_the_silent_rank(const ConformanceContext& test) {
  Communicator& control = *test.communicator;
  ASSIGN_OR_RETURN(const auto comm, test.make_communicator());
  const int silent = comm->size() - 1;
  const int64_t step = 42;
  absl::Status verdict;
  if (comm->size() > 1 && comm->rank() != silent) {
    const std::vector<std::span<const std::byte>> none(static_cast<size_t>(comm->size()));
    std::vector<std::span<const std::byte>> received(none.size());
    const OpContext late{"combine", 7, step, Deadline::after_ms(500)};
    const double cpu_before = thread_cpu_seconds();
    ASSIGN_OR_RETURN(const ExchangeTicket ticket, comm->begin_exchange(late, none));
    const absl::Status status = comm->finish_exchange(ticket, received);
    const double cpu_used = thread_cpu_seconds() - cpu_before;
    verdict = expect_named(
        status, {named(*comm, comm->rank()) + ": combine of layer 7, step 42: ",
                 "no data from " + named(*comm, silent) + " after ", "(deadline 0.500 s)"});
    if (verdict.ok() && cpu_used > 0.25) {
      verdict = mismatch("waiting 0.5 s took " + std::to_string(cpu_used) + " s of processor time");
    }
    if (verdict.ok() && comm->barrier(operation("barrier", step)) != status) {
      verdict = mismatch("a broken communicator did not repeat its first error");
    }
    comm->release_exchange(ticket);
  }
  // The silent rank waits here, on another communicator, until all others have their error.
  RETURN_IF_ERROR(control.barrier(operation("barrier", step)));
  return verdict;
}

absl::Status collective_deadlines_name_whom_they_wait_for(const ConformanceContext& test) {
  Communicator& control = *test.communicator;
  ASSIGN_OR_RETURN(const auto for_barrier, test.make_communicator());
  ASSIGN_OR_RETURN(const auto for_broadcast, test.make_communicator());
  ASSIGN_OR_RETURN(const auto for_gather, test.make_communicator());
  const int silent = control.size() - 1;
  absl::Status verdict;
  if (control.size() > 1 && control.rank() != silent) {
    const auto soon = [](std::string_view name) {
      return OpContext{name, -1, 5, Deadline::after_ms(50)};
    };
    const std::string missing = "no data from " + named(control, silent);
    verdict = expect_named(for_barrier->barrier(soon("epoch barrier")),
                           {"epoch barrier, step 5: " + missing});
    std::vector<std::byte> plan;
    if (verdict.ok()) {
      // Who is no child of the silent root names the rank in between and the root.
      verdict = expect_named(for_broadcast->broadcast(soon("plan broadcast"), silent, &plan),
                             {"plan broadcast, step 5: no data from rank", named(control, silent)});
    }
    if (verdict.ok() && control.rank() == 0) {
      verdict = expect_named(for_gather->gather(soon("results"), 0, plan).status(),
                             {"results, step 5: " + missing});
    } else if (verdict.ok()) {
      verdict = for_gather->gather(soon("results"), 0, plan).status();
    }
  }
  RETURN_IF_ERROR(control.barrier(operation("barrier", 5)));
  return verdict;
}

// Several MB that nobody takes: the sender's wait must end too, and so must its clean-up.
absl::Status destruction_with_traffic_under_way_does_not_hang(const ConformanceContext& test) {
  Communicator& control = *test.communicator;
  std::vector<std::byte> large(4'000'000, std::byte{1});
  {
    ASSIGN_OR_RETURN(const auto comm, test.make_communicator());
    if (comm->rank() != comm->size() - 1) {
      const std::vector<std::span<const std::byte>> send(static_cast<size_t>(comm->size()), large);
      RETURN_IF_ERROR(
          comm->begin_exchange(OpContext{"dispatch", 0, 1, Deadline::after_ms(10)}, send).status());
    }
  }
  // `large` is kept until all ranks are past their part.
  return control.barrier(operation("barrier", 1));
}

constexpr ConformanceCase kCases[] = {
    {"exchanges deliver exact bytes", exchanges_deliver_exact_bytes},
    {"several exchanges are in flight", several_exchanges_are_in_flight},
    {"progress alone completes an exchange", progress_alone_completes_an_exchange},
    {"broadcast reaches all from any root", broadcast_reaches_all_from_any_root},
    {"gather returns rank order on the root", gather_returns_rank_order_on_the_root},
    {"collectives mix with exchanges in flight", collectives_mix_with_exchanges_in_flight},
    {"tags wrap around", tags_wrap_around},
    {"steady state does not allocate", steady_state_does_not_allocate},
    {"deadline names the silent rank", deadline_names_the_silent_rank},
    {"collective deadlines name whom they wait for", collective_deadlines_name_whom_they_wait_for},
    {"destruction with traffic under way does not hang",
     destruction_with_traffic_under_way_does_not_hang},
};

}  // namespace

std::span<const ConformanceCase> conformance_cases() { return kCases; }

}  // namespace conclave::comm
