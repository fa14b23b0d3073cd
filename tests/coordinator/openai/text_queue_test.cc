#include "coordinator/openai/text_queue.h"

#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TextJob job(std::string client, size_t bytes,
            std::shared_ptr<const std::atomic<bool>> gone = nullptr) {
  if (gone == nullptr) gone = std::make_shared<std::atomic<bool>>(false);
  return {std::move(client), bytes, std::move(gone), [] {}};
}

// The clients in the order in which their texts are taken.
std::string order_of(TextQueue& queue) {
  std::string order;
  while (const auto taken = queue.pop([](const TextJob&) { return true; })) order += taken->client;
  return order;
}

TEST(TextQueue, OneClientsTextsStayInOrder) {
  TextQueue queue;
  std::vector<size_t> sizes;
  for (const size_t bytes : {5, 1, 3}) ASSERT_TRUE(queue.push(job("a", bytes)));
  while (const auto taken = queue.pop([](const TextJob&) { return true; }))
    sizes.push_back(taken->bytes);
  EXPECT_EQ(sizes, (std::vector<size_t>{5, 1, 3}));
}

TEST(TextQueue, AFloodOfOneClientIsServedBesideAnother) {
  TextQueue queue;
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(queue.push(job("a", 100)));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.push(job("b", 100)));
  EXPECT_EQ(order_of(queue), "abababaaa");
}

TEST(TextQueue, AShortTextGoesBeforeLongOnes) {
  TextQueue queue;
  for (const char* client : {"a", "b", "c"}) ASSERT_TRUE(queue.push(job(client, 8 * kMiB)));
  ASSERT_TRUE(queue.push(job("d", 40000)));
  EXPECT_EQ(order_of(queue), "dabc");
}

// New clients with short texts come for ever: the long one has its turn all the same.
TEST(TextQueue, ALongTextIsNotStarved) {
  TextQueue queue;
  ASSERT_TRUE(queue.push(job("long", 8 * kMiB)));
  int before = 0;
  for (; before < 1000; ++before) {
    ASSERT_TRUE(queue.push(job("short " + std::to_string(before), 100000)));
    const auto taken = queue.pop([](const TextJob&) { return true; });
    if (taken->client == "long") break;
  }
  EXPECT_LT(before, 100);
}

TEST(TextQueue, TakesOnlyWhatItsReaderMayTake) {
  TextQueue queue;
  ASSERT_TRUE(queue.push(job("a", TextQueue::kLongBytes + 1)));
  const auto is_short = [](const TextJob& job) { return !TextQueue::is_long(job); };
  EXPECT_FALSE(queue.pop(is_short).has_value());
  ASSERT_TRUE(queue.push(job("a", TextQueue::kLongBytes)));
  EXPECT_EQ(queue.pop(is_short)->bytes, TextQueue::kLongBytes);
  EXPECT_EQ(queue.size(), 1u);
}

TEST(TextQueue, IsBoundedInJobsAndBytes) {
  TextQueue by_jobs({.jobs = 4, .bytes = 1000});
  for (const char* client : {"a", "b", "c", "d"}) ASSERT_TRUE(by_jobs.push(job(client, 1)));
  EXPECT_FALSE(by_jobs.push(job("e", 1)));
  TextQueue by_bytes({.jobs = 10, .bytes = 1000});
  ASSERT_TRUE(by_bytes.push(job("a", 600)));
  EXPECT_FALSE(by_bytes.push(job("b", 401)));
  EXPECT_TRUE(by_bytes.push(job("b", 400)));
  EXPECT_EQ(by_bytes.bytes(), 1000u);
}

TEST(TextQueue, OneClientMayHoldHalf) {
  TextQueue queue({.jobs = 4, .bytes = 1000});
  ASSERT_TRUE(queue.push(job("a", 1)));
  ASSERT_TRUE(queue.push(job("a", 1)));
  EXPECT_FALSE(queue.push(job("a", 1)));
  EXPECT_TRUE(queue.push(job("b", 300)));
  EXPECT_FALSE(queue.push(job("b", 300))) << "600 of 1000 bytes";
}

TEST(TextQueue, AnEmptyQueueTakesAnyText) {
  TextQueue queue({.jobs = 4, .bytes = 10});
  EXPECT_TRUE(queue.push(job("a", 1000)));
}

TEST(TextQueue, ClientsThatHaveGoneMakeRoom) {
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  TextQueue queue({.jobs = 2, .bytes = 1000});
  ASSERT_TRUE(queue.push(job("a", 500, gone)));
  ASSERT_TRUE(queue.push(job("b", 500)));
  EXPECT_FALSE(queue.push(job("c", 500)));
  *gone = true;
  EXPECT_TRUE(queue.push(job("c", 500)));
  EXPECT_EQ(order_of(queue), "bc");
  EXPECT_EQ(queue.bytes(), 0u);
}

}  // namespace
}  // namespace conclave::coordinator
