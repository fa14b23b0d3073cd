#include "coordinator/openai/text_worker.h"

#include <atomic>
#include <future>

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

TEST(TextWorker, RunsTasksInOrderOnAThreadOfItsOwn) {
  std::string order;
  std::promise<std::thread::id> ran_on;
  TextWorker worker;
  ASSERT_TRUE(worker.post([&] { order += "a"; }));
  ASSERT_TRUE(worker.post([&] {
    order += "b";
    ran_on.set_value(std::this_thread::get_id());
  }));
  EXPECT_NE(ran_on.get_future().get(), std::this_thread::get_id());
  EXPECT_EQ(order, "ab");
}

TEST(TextWorker, RefusesWhenTooManyWaitAndDropsThemAtTheEnd) {
  std::promise<void> started, go_on;
  std::shared_future<void> released = go_on.get_future().share();
  std::atomic<int> ran{0};
  {
    TextWorker worker;
    ASSERT_TRUE(worker.post([&, released] {
      started.set_value();
      released.wait();
      ++ran;
    }));
    started.get_future().wait();
    for (size_t i = 0; i < TextWorker::kMaxWaiting; ++i) ASSERT_TRUE(worker.post([&] { ++ran; }));
    EXPECT_FALSE(worker.post([&] { ++ran; }));
    std::thread([&go_on] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      go_on.set_value();
    }).detach();
  }
  // The one that ran, and those it may have begun before the destructor asked it to stop.
  EXPECT_GE(ran.load(), 1);
}

TEST(TextWorker, MayBeDestroyedByItsOwnTask) {
  std::promise<void> done;
  auto worker = std::make_shared<TextWorker>();
  TextWorker* raw = worker.get();
  std::promise<void> released;
  ASSERT_TRUE(raw->post([held = worker, ready = released.get_future().share(), &done]() mutable {
    ready.wait();
    held.reset();
    done.set_value();
  }));
  worker.reset();
  released.set_value();
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

}  // namespace
}  // namespace conclave::coordinator
