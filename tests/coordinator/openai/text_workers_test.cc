#include "coordinator/openai/text_workers.h"

#include <atomic>
#include <future>

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kLong = TextQueue::kLongBytes + 1;
constexpr auto kPatience = std::chrono::seconds(30);

TextJob job(std::string client, size_t bytes, std::function<void()> work) {
  return {std::move(client), bytes, std::make_shared<std::atomic<bool>>(false), std::move(work)};
}

// Jobs that run until released.
struct Gate {
  std::promise<void> open;
  std::shared_future<void> opened = open.get_future().share();
  std::function<void()> hold(std::promise<void>* started = nullptr) {
    return [opened = opened, started] {
      if (started != nullptr) started->set_value();
      opened.wait();
    };
  }
};

TEST(TextWorkers, RunOnThreadsOfTheirOwn) {
  std::promise<std::thread::id> ran_on;
  TextWorkers workers;
  ASSERT_TRUE(workers.post(job("a", 1, [&] { ran_on.set_value(std::this_thread::get_id()); })));
  EXPECT_NE(ran_on.get_future().get(), std::this_thread::get_id());
}

TEST(TextWorkers, LongTextsOfOneClientLeaveThreadsToOthers) {
  Gate gate;
  std::promise<void> first, others_long, own_short, second_ran;
  TextWorkers workers;
  EXPECT_TRUE(workers.post(job("a", kLong, gate.hold(&first))));
  EXPECT_EQ(first.get_future().wait_for(kPatience), std::future_status::ready);
  std::atomic<bool> second{false};
  EXPECT_TRUE(workers.post(job("a", kLong, [&] {
    second = true;
    second_ran.set_value();
  })));
  EXPECT_TRUE(workers.post(job("b", kLong, [&] { others_long.set_value(); })));
  EXPECT_TRUE(workers.post(job("a", 1, [&] { own_short.set_value(); })));
  EXPECT_EQ(others_long.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(own_short.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_FALSE(second) << "beside the first of the same client";
  gate.open.set_value();
  EXPECT_EQ(second_ran.get_future().wait_for(kPatience), std::future_status::ready);
}

TEST(TextWorkers, AShortTextFindsAThreadWhateverLongOnesRun) {
  Gate gate;
  std::promise<void> ran;
  TextWorkers workers;
  for (const char* client : {"a", "b", "c", "d"})
    EXPECT_TRUE(workers.post(job(client, kLong, gate.hold())));
  EXPECT_TRUE(workers.post(job("e", 1, [&] { ran.set_value(); })));
  EXPECT_EQ(ran.get_future().wait_for(kPatience), std::future_status::ready);
  gate.open.set_value();
}

TEST(TextWorkers, WhatNobodyWaitsForIsNotBegun) {
  std::promise<void> done;
  bool ran = false;
  TextWorkers workers;
  ASSERT_TRUE(
      workers.post({"a", 1, std::make_shared<std::atomic<bool>>(true), [&] { ran = true; }}));
  ASSERT_TRUE(workers.post(job("a", 2, [&] { done.set_value(); })));
  done.get_future().wait();
  EXPECT_FALSE(ran);
}

TEST(TextWorkers, RefuseWhenTooMuchWaitsAndDropItAtTheEnd) {
  Gate gate;
  std::atomic<int> ran{0};
  std::thread opener;
  {
    TextWorkers workers({.jobs = 4, .bytes = 1000});
    std::promise<void> started[TextWorkers::kThreads];
    for (auto& each : started) {
      EXPECT_TRUE(workers.post(job("a", 1, gate.hold(&each))));
      EXPECT_EQ(each.get_future().wait_for(kPatience), std::future_status::ready);
    }
    for (const char* client : {"a", "b", "c", "d"})
      EXPECT_TRUE(workers.post(job(client, 1, [&] { ++ran; })));
    EXPECT_FALSE(workers.post(job("e", 1, [&] { ++ran; })));
    opener = std::thread([&gate] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      gate.open.set_value();
    });
  }
  opener.join();
  EXPECT_LE(ran, 4);
}

TEST(TextWorkers, MayBeDestroyedByTheirOwnJob) {
  std::promise<void> done, released;
  auto workers = std::make_shared<TextWorkers>();
  TextWorkers* raw = workers.get();
  ASSERT_TRUE(raw->post(
      job("a", 1, [held = workers, ready = released.get_future().share(), &done]() mutable {
        ready.wait();
        held.reset();
        done.set_value();
      })));
  workers.reset();
  released.set_value();
  EXPECT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
}

}  // namespace
}  // namespace conclave::coordinator
