// Latency of the device collectives inside a graph: conclave_device_comm_bench [RANKS]. One line
// for each operation and size, microseconds of one collective, for every way the GPUs can talk.

#include <cstdio>
#include <cstdlib>

#include "bench/device_ranks.h"

namespace conclave::device {
namespace {

constexpr int32_t kInGraph = 100;  // collectives in one graph
constexpr int32_t kLaunches = 7;
constexpr size_t kMaxBytes = size_t{1} << 20;

using Rank = DeviceRanks::Rank;

struct Buffers {
  float* send = nullptr;
  float* recv[2] = {};  // consecutive collectives take turns
};

enum class Operation { kAllReduce, kAllGather, kAllToAll };

// `bytes` is what one rank contributes to all-reduce and all-gather, and sends to each peer in an
// all-to-all.
Status enqueue(const Rank& rank, Operation operation, const Buffers& buffers, size_t bytes,
               int32_t turn, int32_t size) {
  const DeviceOps& ops = rank.ops();
  float* recv = buffers.recv[turn % 2];
  if (operation == Operation::kAllReduce) {
    return ops.comm_all_reduce(rank.context(), rank.stream.get(), rank.comm, buffers.send, recv,
                               static_cast<int64_t>(bytes / sizeof(float)));
  }
  if (operation == Operation::kAllGather) {
    const GatherPart part{buffers.send, recv, bytes};
    return ops.comm_all_gather(rank.context(), rank.stream.get(), rank.comm, &part, 1);
  }
  constexpr size_t kRowBytes = 1024;
  const size_t row = std::min(bytes, kRowBytes);
  return ops.comm_all_to_all(rank.context(), rank.stream.get(), rank.comm, buffers.send, recv,
                             static_cast<int32_t>(bytes / row), row, nullptr, nullptr);
}

absl::StatusOr<double> microseconds(Rank& rank, Operation operation, const Buffers& buffers,
                                    size_t bytes, int32_t size) {
  const DeviceOps& ops = rank.ops();
  // What is loaded or set up at the first use must not be captured.
  RETURN_IF_ERROR(rank.device->check(enqueue(rank, operation, buffers, bytes, 0, size)));
  RETURN_IF_ERROR(rank.device->check(enqueue(rank, operation, buffers, bytes, 1, size)));
  RETURN_IF_ERROR(rank.wait());
  RETURN_IF_ERROR(rank.device->check(ops.graph_begin(rank.context(), rank.stream.get())));
  Status status = kOk;
  for (int32_t i = 0; i < kInGraph && status == kOk; ++i) {
    status = enqueue(rank, operation, buffers, bytes, i, size);
  }
  Graph* captured = nullptr;
  RETURN_IF_ERROR(rank.device->check(ops.graph_end(rank.context(), rank.stream.get(), &captured)));
  RETURN_IF_ERROR(rank.device->check(status));
  const OwnedGraph graph(rank.device.get(), captured);
  ASSIGN_OR_RETURN(const OwnedEvent begin, rank.device->make_event(true));
  ASSIGN_OR_RETURN(const OwnedEvent end, rank.device->make_event(true));
  double best = 1e30;
  for (int32_t i = 0; i < kLaunches; ++i) {
    ops.event_record(rank.context(), rank.stream.get(), begin.get());
    RETURN_IF_ERROR(
        rank.device->check(ops.graph_launch(rank.context(), rank.stream.get(), captured)));
    ops.event_record(rank.context(), rank.stream.get(), end.get());
    RETURN_IF_ERROR(rank.wait());
    float ms = 0;
    ops.event_elapsed_ms(rank.context(), begin.get(), end.get(), &ms);
    best = std::min(best, 1e3 * static_cast<double>(ms) / kInGraph);
  }
  return best;
}

absl::Status bench_rank(Rank& rank, int32_t size) {
  const DeviceOps& ops = rank.ops();
  Buffers buffers;
  const size_t bytes = kMaxBytes * static_cast<size_t>(size);
  for (float** out : {&buffers.send, &buffers.recv[0], &buffers.recv[1]}) {
    void* memory = nullptr;
    RETURN_IF_ERROR(rank.device->check(ops.comm_alloc(rank.context(), rank.comm, bytes, &memory)));
    *out = static_cast<float*>(memory);
  }
  RETURN_IF_ERROR(
      rank.device->check(ops.fill_random(rank.context(), rank.stream.get(), buffers.send, kTypeF32,
                                         static_cast<int64_t>(bytes / sizeof(float)), 7, 1.0f)));
  constexpr std::pair<Operation, const char*> kOperations[] = {
      {Operation::kAllReduce, "all-reduce"},
      {Operation::kAllGather, "all-gather"},
      {Operation::kAllToAll, "all-to-all"}};
  for (const auto& [operation, name] : kOperations) {
    for (size_t size_bytes = 1024; size_bytes <= kMaxBytes; size_bytes *= 4) {
      ASSIGN_OR_RETURN(const double us, microseconds(rank, operation, buffers, size_bytes, size));
      if (rank.rank != 0) continue;
      std::printf("%-14s %-11s %8zu bytes %8.2f us\n", ops.comm_name(rank.context(), rank.comm),
                  name, size_bytes, us);
      std::fflush(stdout);
    }
  }
  return absl::OkStatus();
}

absl::Status run(int32_t size) {
  ASSIGN_OR_RETURN(const auto library, Library::load(cuda_plugin_path()));
  ASSIGN_OR_RETURN(const int devices, library->device_count());
  std::printf("%d ranks, %d GPUs, %d collectives in a graph\n", size, devices, kInGraph);
  for (const int32_t kind : {kCommPeer, kCommNccl, kCommNcclSymmetric}) {
    if (kind != kCommPeer && devices < size) continue;
    DeviceRanks ranks(library, size, kind);
    RETURN_IF_ERROR(ranks.run([&](Rank& rank) { return bench_rank(rank, size); }));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace conclave::device

int main(int argc, char** argv) {
  const int ranks = argc > 1 ? std::atoi(argv[1]) : 2;
  const absl::Status status = conclave::device::run(std::max(1, ranks));
  if (status.ok()) return 0;
  std::fprintf(stderr, "conclave_device_comm_bench: %s\n", std::string(status.message()).c_str());
  return 1;
}
