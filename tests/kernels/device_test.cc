#include <atomic>
#include <limits>
#include <thread>

#include "kernels/cpu/machine_limits.h"
#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {
namespace {

TEST(ThreadPoolTest, CoversEveryIndexOnceForAnyThreadsAndGrain) {
  for (const int threads : {1, 2, 3, 7}) {
    const auto pool = make_pool(threads);
    EXPECT_EQ(pool->threads(), threads);
    for (const int64_t count : {0, 1, 2, 15, 1000}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
        pool->parallel_for(count, grain, [&](int64_t begin, int64_t end, int thread) {
          EXPECT_GE(thread, 0);
          EXPECT_LT(thread, threads);
          if (threads > 1) {
            EXPECT_LE(end - begin, grain);
          }
          for (int64_t i = begin; i < end; ++i) hits[static_cast<size_t>(i)].fetch_add(1);
        });
        for (const std::atomic<int>& hit : hits) ASSERT_EQ(hit.load(), 1);
      }
    }
  }
}

// Each loop reads what other threads wrote in the loop before, and what the caller wrote in
// between.
TEST(ThreadPoolTest, ManyShortLoopsSeeEachOthersWrites) {
  const auto pool = make_pool(3);
  std::vector<int64_t> values(64, 0);
  int64_t offset = 0;
  for (int64_t round = 0; round < 20000; ++round) {
    std::vector<int64_t> next(64);
    pool->parallel_for(64, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        next[static_cast<size_t>(i)] = values[static_cast<size_t>(63 - i)] + offset;
    });
    values = next;
    offset = 1 - offset;
  }
  for (const int64_t value : values) EXPECT_EQ(value, 10000);
}

TEST(ThreadPoolTest, ThreadIndexIsNotSharedByConcurrentCalls) {
  const auto pool = make_pool(3);
  std::vector<std::atomic<int>> inside(3);
  for (int round = 0; round < 200; ++round) {
    pool->parallel_for(30, 1, [&](int64_t, int64_t, int thread) {
      EXPECT_EQ(inside[static_cast<size_t>(thread)].fetch_add(1), 0);
      inside[static_cast<size_t>(thread)].fetch_sub(1);
    });
  }
}

TEST(ThreadPoolTest, OneThreadRunsInline) {
  const auto pool = make_pool(1);
  const auto self = std::this_thread::get_id();
  pool->parallel_for(10, 1,
                     [&](int64_t, int64_t, int) { EXPECT_EQ(std::this_thread::get_id(), self); });
}

TEST(ThreadPoolTest, RefusesNonsenseCounts) {
  EXPECT_EQ(ThreadPool::Create({.threads = 0}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ThreadPool::Create({.threads = 5000}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ThreadPoolTest, PinsBeyondTheMachinesCoresByWrappingAround) {
  const auto pool = ThreadPool::Create({.threads = 3, .first_core = 100}).value();
  std::atomic<int64_t> sum{0};
  pool->parallel_for(100, 1, [&](int64_t begin, int64_t, int) { sum.fetch_add(begin); });
  EXPECT_EQ(sum.load(), 4950);
}

TEST(BufferTest, IsAlignedAndMoves) {
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{100000}, size_t{5} << 20}) {
    Buffer buffer = Buffer::allocate(bytes).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_EQ(buffer.size(), bytes);
    std::memset(buffer.data(), 1, bytes);
    std::byte* data = buffer.data();
    const Buffer moved = std::move(buffer);
    EXPECT_EQ(moved.data(), data);
  }
  EXPECT_EQ(Buffer::allocate(0).value().data(), nullptr);
}

TEST(BufferTest, ImpossibleSizesAreAnError) {
  for (const size_t bytes :
       {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() / 2}) {
    EXPECT_EQ(Buffer::allocate(bytes).status().code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST(CpuKernelSets, BaselineIsAlwaysThereAndLast) {
  const std::vector<std::string> names = available_cpu_kernel_sets();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.back(), "cpu-baseline");
  for (const std::string& name : names) {
    const auto set = make_cpu_kernels(name, ComputeType::kBF16, make_pool(1));
    ASSERT_TRUE(set.ok());
    EXPECT_EQ((*set)->name(), name);
    EXPECT_EQ((*set)->compute_type(), ComputeType::kBF16);
    EXPECT_EQ((*set)->stored_dtype(DType::kF16), DType::kBF16);
  }
}

TEST(CpuKernelSets, UnknownNamesAndMissingPoolsAreErrors) {
  const auto unknown = make_cpu_kernels("cpu-sparc", ComputeType::kF32, make_pool(1));
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(unknown.status().message()).find("cpu-baseline"), std::string::npos);
  EXPECT_EQ(make_cpu_kernels("cpu-baseline", ComputeType::kF32, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ElementConversion, Float16RoundTripsEveryValue) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = f16_to_float(static_cast<uint16_t>(half));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(f16_to_float(float_to_f16(value))));
    } else {
      ASSERT_EQ(float_to_f16(value), half);
    }
  }
}

TEST(ElementConversion, Float16RoundsToNearestEven) {
  EXPECT_EQ(float_to_f16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(float_to_f16(1.0f + 0x1.8p-10f), 0x3c02);
  EXPECT_EQ(float_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_f16(0x1.8p-25f), 0x0001);
}

}  // namespace
}  // namespace conclave::kernels
