// Law 5: once warm, a step allocates nothing on the compute path, alone and across ranks.

#include <gtest/gtest.h>

#include <atomic>
#include <cctype>
#include <cstdlib>
#include <new>
#include <thread>

#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

// GCC does not see that new and delete are replaced as a pair.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

// Sanitizers bring an operator new of their own, which must stay.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONCLAVE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CONCLAVE_SANITIZED 1
#endif
#endif

namespace {

std::atomic<int64_t> allocations{0};
thread_local bool counting = false;

#ifdef CONCLAVE_SANITIZED
constexpr bool kCounts = false;
#else
constexpr bool kCounts = true;
void* counted_allocation(size_t bytes, size_t alignment) {
  if (counting) allocations.fetch_add(1);
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) std::abort();
  return memory;
}
#endif

}  // namespace

#ifndef CONCLAVE_SANITIZED
void* operator new(size_t bytes) { return counted_allocation(bytes, alignof(std::max_align_t)); }
void* operator new[](size_t bytes) { return counted_allocation(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted_allocation(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return counted_allocation(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace conclave::worker {
namespace {

constexpr int kSequences = 6;
constexpr int kPromptTokens = 5;
constexpr int kSteps = 12;
constexpr int kWarmSteps = 6;

protocol::StepPlan plan_of(int step, int ranks) {
  protocol::StepPlan plan;
  plan.step = step;
  plan.record_routing = true;
  for (int s = 0; s < kSequences; ++s) {
    const std::vector<int32_t> prompt = {1, 2 + s, 3, 40 + s, 5};
    const std::vector<int32_t> previous = {protocol::kPreviousToken};
    plan.chunks.push_back(make_chunk(static_cast<uint64_t>(s), step == 0 ? prompt : previous,
                                     step == 0 ? 0 : kPromptTokens + step - 1,
                                     consecutive_blocks(2 * s, 32)));
    plan.chunks.back().home_rank = s % ranks;
    plan.chunks.back().sample = true;
    plan.chunks.back().sampling.temperature = 1;
    plan.chunks.back().sampling.top_p = 0.9f;
    plan.chunks.back().sampling.counts = {{7, 1, true}};
    plan.chunks.back().sampling.bias = {{9, -1.0f}};
  }
  return plan;
}

// The reference set is written to be obvious and allocates as it likes.
std::vector<std::string> fast_kernel_sets() {
  std::vector<std::string> names = host_kernel_sets();
  std::erase(names, "reference");
  return names;
}

class AllocationTest : public testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(AllocationTest, AWarmStepAllocatesNothing) {
  if (!kCounts) GTEST_SKIP() << "a sanitizer owns operator new";
  const auto& [kernel_set, ranks] = GetParam();
  GroupOptions options;
  options.model = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/qwen2_moe";
  options.kernel_set = kernel_set;
  options.ranks = ranks;
  auto group = ExecutorGroup::create(options);
  ASSERT_TRUE(group.ok()) << group.status();
  std::vector<protocol::StepPlan> plans;
  for (int step = 0; step < kSteps; ++step) plans.push_back(plan_of(step, ranks));

  allocations = 0;
  std::vector<absl::Status> statuses(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      absl::Status& status = statuses[static_cast<size_t>(rank)];
      for (int step = 0; step < kSteps && status.ok(); ++step) {
        counting = step >= kWarmSteps;
        status = (*group)->rank(rank).run(plans[static_cast<size_t>(step)]);
        counting = false;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(allocations.load(), 0);
}

TEST(AllocationCounterTest, SeesAnAllocation) {
  if (!kCounts) GTEST_SKIP() << "a sanitizer owns operator new";
  allocations = 0;
  counting = true;
  // Called by name: a compiler may leave out the allocations of new expressions that nobody uses.
  void* first = ::operator new(400);
  void* second = ::operator new(8);
  counting = false;
  ::operator delete(first);
  ::operator delete(second);
  EXPECT_EQ(allocations.load(), 2);
}

INSTANTIATE_TEST_SUITE_P(AllSets, AllocationTest,
                         testing::Combine(testing::ValuesIn(fast_kernel_sets()),
                                          testing::Values(1, 2)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + "_ranks" +
                                              std::to_string(std::get<1>(info.param));
                           for (char& c : name) {
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace conclave::worker
