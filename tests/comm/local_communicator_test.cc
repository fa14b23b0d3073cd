#include "comm/local/local_communicator.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/comm/communicator_conformance.h"

namespace conclave::comm {
namespace {

// Gives the ranks of one group their communicators of a new group at each n-th call.
class GroupFactory {
 public:
  explicit GroupFactory(int size) : size_(size), calls_(static_cast<size_t>(size)) {}
  std::unique_ptr<Communicator> make(int rank) {
    std::lock_guard lock(mutex_);
    const int call = calls_[rank]++;
    auto& group = groups_[call];
    if (group == nullptr) group = std::make_unique<LocalGroup>(size_, hosts());
    return group->make_communicator(rank);
  }

 private:
  std::vector<std::string> hosts() const {
    std::vector<std::string> names;
    for (int r = 0; r < size_; ++r) names.emplace_back(1, static_cast<char>('a' + r));
    return names;
  }
  int size_;
  std::mutex mutex_;
  std::vector<int> calls_;
  std::map<int, std::unique_ptr<LocalGroup>> groups_;
};

class LocalConformance : public testing::TestWithParam<std::tuple<int, ConformanceCase>> {};

TEST_P(LocalConformance, HoldsOnEveryRank) {
  const auto& [size, test] = GetParam();
  GroupFactory factory(size);
  std::vector<absl::Status> results(static_cast<size_t>(size));
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < size; ++rank) {
    ranks.emplace_back([&, rank, run = test.run] {
      const auto communicator = factory.make(rank);
      results[rank] = run({communicator.get(), [&, rank]() { return factory.make(rank); }});
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (int rank = 0; rank < size; ++rank) {
    EXPECT_TRUE(results[rank].ok()) << "rank " << rank << ": " << results[rank];
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, LocalConformance,
                         testing::Combine(testing::Values(1, 2, 3, 4, 8),
                                          testing::ValuesIn(conformance_cases().begin(),
                                                            conformance_cases().end())),
                         [](const auto& info) {
                           std::string name = std::get<1>(info.param).name;
                           for (char& c : name) c = c == ' ' ? '_' : c;
                           return name + "_with_" + std::to_string(std::get<0>(info.param));
                         });

constexpr int64_t kPatienceMs = 60000;

TEST(LocalGroup, ErrorsNameEveryRankThatStoppedResponding) {
  LocalGroup group(4, {"a", "b", "c", "d"});
  auto zero = group.make_communicator(0);
  auto one = group.make_communicator(1);
  group.stop_responding(2);
  group.stop_responding(3);
  const std::vector<std::span<const std::byte>> none(4);
  ASSERT_TRUE(one->begin_exchange({"combine", 7, 42, Deadline::after_ms(kPatienceMs)}, none).ok());
  const auto ticket = zero->begin_exchange({"combine", 7, 42, Deadline::after_ms(20)}, none);
  ASSERT_TRUE(ticket.ok());
  std::vector<std::span<const std::byte>> received(4);
  const absl::Status status = zero->finish_exchange(*ticket, received);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(std::string(status.message()).substr(0, 95),
            "rank 0 (host a): combine of layer 7, step 42: no data from rank 2 (host c) and rank 3 "
            "(host d) ");
}

TEST(LocalGroup, ARankThatStoppedRespondingTimesOutItself) {
  LocalGroup group(2, {"a", "b"});
  auto zero = group.make_communicator(0);
  auto one = group.make_communicator(1);
  group.stop_responding(1);
  const std::vector<std::span<const std::byte>> none(2);
  ASSERT_TRUE(zero->begin_exchange({"dispatch", 0, 1, Deadline::after_ms(kPatienceMs)}, none).ok());
  const absl::Status status = one->barrier({"barrier", -1, -1, Deadline::after_ms(20)});
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(
      std::string(status.message()).find("rank 1 (host b): barrier: no data from rank 0 (host a)"),
      std::string::npos)
      << status;
}

TEST(LocalGroup, WhatWasSentBeforeSilenceStillArrives) {
  LocalGroup group(2);
  auto zero = group.make_communicator(0);
  auto one = group.make_communicator(1);
  const std::byte value{9};
  const std::vector<std::span<const std::byte>> send(2, std::span(&value, 1));
  ASSERT_TRUE(one->begin_exchange({"dispatch", 0, 1, Deadline::after_ms(kPatienceMs)}, send).ok());
  group.stop_responding(1);
  const auto ticket =
      zero->begin_exchange({"dispatch", 0, 1, Deadline::after_ms(kPatienceMs)}, send);
  ASSERT_TRUE(ticket.ok());
  std::vector<std::span<const std::byte>> received(2);
  ASSERT_TRUE(zero->finish_exchange(*ticket, received).ok());
  ASSERT_EQ(received[1].size(), 1u);
  EXPECT_EQ(received[1][0], value);
}

TEST(LocalGroup, ReleasingAnUnfinishedExchangeBreaksTheCommunicator) {
  LocalGroup group(2);
  auto zero = group.make_communicator(0);
  const std::vector<std::span<const std::byte>> none(2);
  const auto ticket =
      zero->begin_exchange({"dispatch", 1, 2, Deadline::after_ms(kPatienceMs)}, none);
  ASSERT_TRUE(ticket.ok());
  zero->release_exchange(*ticket);
  EXPECT_EQ(zero->barrier({"barrier", -1, -1, Deadline::after_ms(kPatienceMs)}).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LocalGroup, WrongUseIsAnErrorNotACrash) {
  LocalGroup group(2);
  auto zero = group.make_communicator(0);
  EXPECT_EQ(zero->reserve(10, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(zero->progress(ExchangeTicket{}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(zero->progress(ExchangeTicket{99}).status().code(), absl::StatusCode::kInvalidArgument);
  zero->release_exchange(ExchangeTicket{99});
  std::vector<std::byte> bytes;
  EXPECT_EQ(zero->broadcast({"plan broadcast", -1, 1, Deadline::after_ms(1)}, 2, &bytes).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LocalGroup, AGroupOfOneNeverWaits) {
  auto communicators = make_local_communicators(1);
  Communicator& comm = *communicators[0];
  const OpContext now{"barrier", -1, -1, Deadline::after_ms(0)};
  EXPECT_TRUE(comm.barrier(now).ok());
  const std::vector<std::span<const std::byte>> none(1);
  std::vector<std::span<const std::byte>> received(1);
  const auto ticket = comm.begin_exchange(now, none);
  ASSERT_TRUE(ticket.ok());
  EXPECT_TRUE(comm.finish_exchange(*ticket, received).ok());
  EXPECT_EQ(comm.transport(), "local");
  EXPECT_EQ(comm.host(0), "localhost");
}

}  // namespace
}  // namespace conclave::comm
