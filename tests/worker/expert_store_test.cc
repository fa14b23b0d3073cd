#include "worker/expert_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace conclave::worker {
namespace {

using testing::ElementsAre;

constexpr size_t kSlotBytes = 64;

// Writes the expert's name into its slot.
class NamedBacking : public ExpertBacking {
 public:
  explicit NamedBacking(std::vector<int32_t>* loads) : loads_(loads) {}
  absl::StatusOr<kernels::ExpertWeights> load(int32_t moe_layer, int32_t expert,
                                              std::byte* slot) override {
    if (expert == 5) return absl::DataLossError("expert 5 cannot be read");
    *slot = static_cast<std::byte>(10 * moe_layer + expert);
    loads_->push_back(10 * moe_layer + expert);
    kernels::ExpertWeights weights;
    weights.gate_up.data = slot;
    return weights;
  }

 private:
  std::vector<int32_t>* loads_;
};

class ExpertStoreTest : public testing::Test {
 protected:
  void make(uint64_t slots) {
    ExpertStore::Options options;
    options.experts = 6;
    options.placed = {{0, 2, 4, 5}, {1, 2}};
    options.slot_bytes = kSlotBytes;
    options.budget_bytes = slots * kSlotBytes;
    auto store = ExpertStore::create(options, std::make_unique<NamedBacking>(&loads_));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  int name(const ExpertPins& pins, size_t index) {
    return static_cast<int>(*pins.weights(index)->gate_up.data);
  }
  std::vector<int32_t> loads_;
  std::unique_ptr<ExpertStore> store_;
};

TEST_F(ExpertStoreTest, LoadsOnFirstUseAndKeepsWhatFits) {
  make(6);
  const int32_t experts[] = {0, 4};
  for (int i = 0; i < 2; ++i) {
    auto pins = store_->acquire(0, experts);
    ASSERT_TRUE(pins.ok()) << pins.status();
    EXPECT_EQ(name(*pins, 0), 0);
    EXPECT_EQ(name(*pins, 1), 4);
  }
  EXPECT_THAT(loads_, ElementsAre(0, 4));
  EXPECT_EQ(store_->counters().misses, 2);
  EXPECT_EQ(store_->counters().hits, 2);
  EXPECT_EQ(store_->resident_bytes(), 2 * kSlotBytes);
}

TEST_F(ExpertStoreTest, EvictsTheLeastRecentlyUsedExpertOverAllLayers) {
  make(2);
  const int32_t zero[] = {0};
  const int32_t two[] = {2};
  ASSERT_TRUE(store_->acquire(0, zero).ok());
  ASSERT_TRUE(store_->acquire(1, two).ok());
  ASSERT_TRUE(store_->acquire(0, zero).ok());
  auto pins = store_->acquire(0, two);
  ASSERT_TRUE(pins.ok());
  EXPECT_EQ(name(*pins, 0), 2);
  EXPECT_TRUE(store_->resident(0, 0));
  EXPECT_FALSE(store_->resident(1, 2));
  EXPECT_EQ(store_->counters().evicted, 1);
}

TEST_F(ExpertStoreTest, PinnedExpertsStayAndTooManyPinsAreAnErrorThatLeavesNonePinned) {
  make(2);
  const int32_t pair[] = {0, 2};
  const int32_t three[] = {0, 2, 4};
  EXPECT_TRUE(absl::IsResourceExhausted(store_->acquire(0, three).status()));
  {
    auto pins = store_->acquire(0, pair);
    ASSERT_TRUE(pins.ok());
    const int32_t other[] = {1};
    EXPECT_TRUE(absl::IsResourceExhausted(store_->acquire(1, other).status()));
    EXPECT_TRUE(store_->prefetch(1, other).ok());  // best effort
    EXPECT_FALSE(store_->resident(1, 1));
    store_->evict_to(0);
    EXPECT_TRUE(store_->resident(0, 0));
  }
  store_->evict_to(kSlotBytes);
  EXPECT_EQ(store_->resident_bytes(), kSlotBytes);
}

TEST_F(ExpertStoreTest, PrefetchMakesTheNextAcquireAHit) {
  make(6);
  const int32_t experts[] = {1, 2, 3};  // 3 lives on another rank
  ASSERT_TRUE(store_->prefetch(1, experts).ok());
  EXPECT_EQ(store_->counters().prefetched, 2);
  ASSERT_TRUE(store_->acquire(1, std::span(experts).first(2)).ok());
  EXPECT_EQ(store_->counters().misses, 0);
}

TEST_F(ExpertStoreTest, ErrorsNameTheExpert) {
  make(6);
  const int32_t elsewhere[] = {3};
  EXPECT_TRUE(absl::IsNotFound(store_->acquire(1, elsewhere).status()));
  const int32_t unreadable[] = {5};
  EXPECT_TRUE(absl::IsDataLoss(store_->acquire(0, unreadable).status()));
  EXPECT_TRUE(absl::IsDataLoss(store_->prefetch(0, unreadable)));
}

TEST(ExpertStoreCreateTest, ABudgetForNoExpertIsAnError) {
  ExpertStore::Options options;
  options.experts = 1;
  options.placed = {{0}};
  options.slot_bytes = 100;
  options.budget_bytes = 99;
  EXPECT_TRUE(absl::IsInvalidArgument(ExpertStore::create(options, nullptr).status()));
}

}  // namespace
}  // namespace conclave::worker
