// The collectives of the device seam: exact answers, poisoned buffers, in graphs. On the host fake,
// and with $CONCLAVE_TEST_DEVICE=cuda on GPUs (exit code 77 without one).

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>

#include "bench/device_ranks.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace {

using Rank = DeviceRanks::Rank;

bool on_gpu() { return std::getenv("CONCLAVE_TEST_DEVICE") != nullptr; }

std::shared_ptr<const Library> tested_library() {
  return on_gpu() ? Library::load(cuda_plugin_path()).value() : Library::of(fake_device_ops());
}

std::vector<float> random_floats(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

template <typename T>
absl::Status put(const Rank& rank, void* to, const std::vector<T>& from) {
  RETURN_IF_ERROR(rank.device->check(rank.ops().copy(rank.context(), rank.stream.get(), to,
                                                     from.data(), from.size() * sizeof(T))));
  return rank.wait();
}

template <typename T>
absl::StatusOr<std::vector<T>> get(const Rank& rank, const void* from, size_t count) {
  std::vector<T> values(count);
  RETURN_IF_ERROR(rank.device->check(
      rank.ops().copy(rank.context(), rank.stream.get(), values.data(), from, count * sizeof(T))));
  RETURN_IF_ERROR(rank.wait());
  return values;
}

template <typename T>
absl::StatusOr<T*> shared(const Rank& rank, size_t count) {
  void* memory = nullptr;
  RETURN_IF_ERROR(rank.device->check(
      rank.ops().comm_alloc(rank.context(), rank.comm, count * sizeof(T), &memory)));
  RETURN_IF_ERROR(rank.device->check(
      rank.ops().fill(rank.context(), rank.stream.get(), memory, 0xff, count * sizeof(T))));
  RETURN_IF_ERROR(rank.wait());
  return static_cast<T*>(memory);
}

struct CommCase {
  int32_t ranks;
  int32_t kind;
};

class DeviceCommTest : public testing::TestWithParam<CommCase> {
 protected:
  void SetUp() override {
    const auto count = tested_library()->device_count();
    ASSERT_TRUE(count.ok());
    if (over_nccl() && (!on_gpu() || *count < GetParam().ranks)) {
      GTEST_SKIP() << "NCCL needs a GPU for each of " << GetParam().ranks << " ranks";
    }
  }
  DeviceRanks ranks() const { return {tested_library(), GetParam().ranks, GetParam().kind}; }
  int32_t size() const { return GetParam().ranks; }
  static bool over_nccl() { return GetParam().kind != kCommPeer && GetParam().kind != kCommAuto; }
};

// What rank r contributes in round t.
std::vector<float> block_of(int32_t rank, int32_t round, size_t count) {
  return random_floats(static_cast<uint32_t>(1000 * round + rank), count);
}

TEST_P(DeviceCommTest, AllGatherBringsEveryBlockOfEveryPart) {
  auto group = ranks();
  const absl::Status status = group.run([&](Rank& rank) -> absl::Status {
    for (const size_t count : {size_t{1}, size_t{7}, size_t{64}, size_t{5000}}) {
      ASSIGN_OR_RETURN(float* large, shared<float>(rank, count * size()));
      ASSIGN_OR_RETURN(float* small, shared<float>(rank, 3 * static_cast<size_t>(size())));
      float* own = large + rank.rank * count;
      RETURN_IF_ERROR(put(rank, own, block_of(rank.rank, 1, count)));
      RETURN_IF_ERROR(put(rank, small + 3 * rank.rank, block_of(rank.rank, 2, 3)));
      const GatherPart parts[] = {{own, large, count * sizeof(float)},
                                  {small + 3 * rank.rank, small, 3 * sizeof(float)}};
      RETURN_IF_ERROR(rank.device->check(
          rank.ops().comm_all_gather(rank.context(), rank.stream.get(), rank.comm, parts, 2)));
      ASSIGN_OR_RETURN(const auto all, get<float>(rank, large, count * size()));
      ASSIGN_OR_RETURN(const auto few, get<float>(rank, small, 3 * static_cast<size_t>(size())));
      for (int32_t from = 0; from < size(); ++from) {
        const auto expected = block_of(from, 1, count);
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(), all.begin() + from * count))
            << count << " numbers from rank " << from;
        const auto expected_few = block_of(from, 2, 3);
        EXPECT_TRUE(std::equal(expected_few.begin(), expected_few.end(), few.begin() + 3 * from));
      }
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

// Rows with even numbers travel; each says where it comes from and where it goes.
TEST_P(DeviceCommTest, AllToAllBringsTheListedRows) {
  constexpr int32_t kRows = 37;  // for each rank
  constexpr int32_t kWidth = 24;
  auto group = ranks();
  const absl::Status status = group.run([&](Rank& rank) -> absl::Status {
    const int32_t rows = kRows * size();
    std::vector<float> send(static_cast<size_t>(rows * kWidth));
    std::vector<int32_t> list;
    for (int32_t row = 0; row < rows; ++row) {
      for (int32_t i = 0; i < kWidth; ++i) {
        send[static_cast<size_t>(row * kWidth + i)] =
            static_cast<float>(rank.rank * 100000 + row * 100 + i);
      }
      if (row % 2 == 0) list.push_back(row);
    }
    ASSIGN_OR_RETURN(float* from, shared<float>(rank, send.size()));
    ASSIGN_OR_RETURN(float* to, shared<float>(rank, send.size()));
    ASSIGN_OR_RETURN(int32_t * listed, shared<int32_t>(rank, list.size() + 1));
    RETURN_IF_ERROR(put(rank, from, send));
    list.insert(list.begin(), static_cast<int32_t>(list.size()));
    RETURN_IF_ERROR(put(rank, listed, list));
    RETURN_IF_ERROR(rank.device->check(
        rank.ops().comm_all_to_all(rank.context(), rank.stream.get(), rank.comm, from, to, kRows,
                                   kWidth * sizeof(float), listed + 1, listed)));
    ASSIGN_OR_RETURN(const auto got, get<float>(rank, to, send.size()));
    for (int32_t source = 0; source < size(); ++source) {
      if (source == rank.rank) continue;
      for (int32_t i = 0; i < kRows; ++i) {
        const int32_t row = rank.rank * kRows + i;
        if (row % 2 != 0) continue;
        const float first = got[static_cast<size_t>((source * kRows + i) * kWidth)];
        EXPECT_EQ(first, static_cast<float>(source * 100000 + row * 100)) << "row " << row;
      }
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST_P(DeviceCommTest, AllReduceAddsInRankOrderOnEveryRank) {
  auto group = ranks();
  const absl::Status status = group.run([&](Rank& rank) -> absl::Status {
    for (const size_t count : {size_t{1}, size_t{1000}, size_t{200000}}) {
      ASSIGN_OR_RETURN(float* send, shared<float>(rank, count));
      ASSIGN_OR_RETURN(float* recv, shared<float>(rank, count));
      RETURN_IF_ERROR(put(rank, send, block_of(rank.rank, 3, count)));
      RETURN_IF_ERROR(rank.device->check(rank.ops().comm_all_reduce(
          rank.context(), rank.stream.get(), rank.comm, send, recv, static_cast<int64_t>(count))));
      ASSIGN_OR_RETURN(const auto got, get<float>(rank, recv, count));
      std::vector<float> expected = block_of(0, 3, count);
      for (int32_t from = 1; from < size(); ++from) {
        const auto block = block_of(from, 3, count);
        for (size_t i = 0; i < count; ++i) expected[i] += block[i];
      }
      // NCCL's order is its own, and for two ranks there is only one.
      if (!over_nccl() || size() == 2) {
        EXPECT_EQ(got, expected) << count << " numbers";
      }
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST_P(DeviceCommTest, ACapturedExchangeRunsAgainOnNewNumbers) {
  if (on_gpu() && size() > 2 && *tested_library()->device_count() < size()) {
    GTEST_SKIP() << "graphs of more than two ranks on one GPU may wait for each other for ever";
  }
  constexpr size_t kCount = 300;
  constexpr int32_t kRounds = 30;
  auto group = ranks();
  const absl::Status status = group.run([&](Rank& rank) -> absl::Status {
    const DeviceOps& ops = rank.ops();
    ASSIGN_OR_RETURN(float* all, shared<float>(rank, kCount * size()));
    ASSIGN_OR_RETURN(float* home, shared<float>(rank, kCount * size()));
    float* own = all + rank.rank * kCount;
    const GatherPart part{own, all, kCount * sizeof(float)};
    // To and back: rank r's block comes home from each peer.
    const auto enqueue = [&]() -> absl::Status {
      RETURN_IF_ERROR(rank.device->check(
          ops.comm_all_gather(rank.context(), rank.stream.get(), rank.comm, &part, 1)));
      return rank.device->check(ops.comm_all_to_all(rank.context(), rank.stream.get(), rank.comm,
                                                    all, home, kCount, sizeof(float), nullptr,
                                                    nullptr));
    };
    // What is set up at the first use must not be captured.
    RETURN_IF_ERROR(enqueue());
    RETURN_IF_ERROR(rank.wait());
    RETURN_IF_ERROR(rank.device->check(ops.graph_begin(rank.context(), rank.stream.get())));
    RETURN_IF_ERROR(enqueue());
    Graph* captured = nullptr;
    RETURN_IF_ERROR(
        rank.device->check(ops.graph_end(rank.context(), rank.stream.get(), &captured)));
    const OwnedGraph graph(rank.device.get(), captured);
    for (int32_t round = 0; round < kRounds; ++round) {
      const std::vector<float> block = block_of(rank.rank, 10 + round, kCount);
      RETURN_IF_ERROR(put(rank, own, block));
      RETURN_IF_ERROR(
          rank.device->check(ops.graph_launch(rank.context(), rank.stream.get(), captured)));
      ASSIGN_OR_RETURN(const auto got, get<float>(rank, home, kCount * size()));
      for (int32_t from = 0; from < size(); ++from) {
        if (from == rank.rank) continue;
        EXPECT_TRUE(std::equal(block.begin(), block.end(), got.begin() + from * kCount))
            << "round " << round << " from " << from;
      }
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

INSTANTIATE_TEST_SUITE_P(Kinds, DeviceCommTest,
                         testing::Values(CommCase{2, kCommAuto}, CommCase{4, kCommAuto},
                                         CommCase{2, kCommPeer}, CommCase{2, kCommNccl},
                                         CommCase{2, kCommNcclSymmetric}),
                         [](const auto& info) {
                           const std::string kind = info.param.kind == kCommPeer   ? "peer"
                                                    : info.param.kind == kCommNccl ? "nccl"
                                                    : info.param.kind == kCommNcclSymmetric
                                                        ? "symmetric"
                                                        : "auto";
                           return std::to_string(info.param.ranks) + "_" + kind;
                         });

}  // namespace
}  // namespace conclave::device

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  constexpr int kSkipped = 77;
  if (conclave::device::on_gpu()) {
    auto library = conclave::device::Library::load(conclave::device::cuda_plugin_path());
    absl::Status status = library.status();
    if (status.ok()) status = (*library)->device_count().status();
    if (!status.ok()) {
      std::printf("skipped: %s\n", std::string(status.message()).c_str());
      return kSkipped;
    }
  }
  return RUN_ALL_TESTS();
}
