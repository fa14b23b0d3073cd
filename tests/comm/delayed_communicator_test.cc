#include "tests/support/delayed_communicator.h"

#include <gtest/gtest.h>

#include "comm/local/local_communicator.h"

namespace conclave::comm {
namespace {

class DelayedCommunicatorTest : public testing::Test {
 protected:
  ExchangeTicket begin(const char* name, int32_t layer) {
    const std::vector<std::span<const std::byte>> none(1);
    return *comm_.begin_exchange({name, layer, 1, Deadline::after_ms(60000)}, none);
  }
  void finish(ExchangeTicket ticket) {
    std::vector<std::span<const std::byte>> received(1);
    ASSERT_TRUE(comm_.finish_exchange(ticket, received).ok());
    comm_.release_exchange(ticket);
  }
  std::vector<std::unique_ptr<Communicator>> inner_ = make_local_communicators(1);
  FakeClock clock_;
  DelayedCommunicator comm_{inner_[0].get(), &clock_, 100};
};

TEST_F(DelayedCommunicatorTest, ComputationHidesTheDelay) {
  const ExchangeTicket ticket = begin("dispatch", 2);
  EXPECT_FALSE(*comm_.progress(ticket));
  clock_.advance_us(70);
  EXPECT_FALSE(*comm_.progress(ticket));
  clock_.advance_us(70);
  EXPECT_TRUE(*comm_.progress(ticket));
  finish(ticket);
  EXPECT_EQ(clock_.now_us(), 142);  // two polls found nothing
  EXPECT_EQ(comm_.exposed_wait_us(), 0);
}

TEST_F(DelayedCommunicatorTest, FinishWaitsForWhatIsLeftOfTheDelay) {
  const ExchangeTicket first = begin("combine", 2);
  clock_.advance_us(30);
  const ExchangeTicket second = begin("dispatch", 3);
  finish(first);
  EXPECT_EQ(comm_.exposed_wait_us(), 70);
  finish(second);
  EXPECT_EQ(comm_.exposed_wait_us(), 100);
  EXPECT_EQ(clock_.now_us(), 130);
  std::vector<std::string> texts;
  for (const CommEvent& event : comm_.events()) texts.push_back(event_text(event));
  EXPECT_EQ(texts, (std::vector<std::string>{"begin combine 2", "begin dispatch 3",
                                             "finish combine 2", "release combine 2",
                                             "finish dispatch 3", "release dispatch 3"}));
}

}  // namespace
}  // namespace conclave::comm
