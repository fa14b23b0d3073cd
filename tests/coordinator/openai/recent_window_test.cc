#include "coordinator/admin/recent_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace conclave::coordinator {
namespace {

TEST(RecentWindow, CountsWholeSecondsAndForgetsOldOnes) {
  RecentWindow window;
  window.tokens(0.5, 10, 100);
  window.tokens(1.2, 0, 50);
  window.tokens(1.9, 0, 50);
  EXPECT_EQ(window.summary(2.1, 2).generated_tokens, 100);
  EXPECT_EQ(window.summary(2.1, 2).prompt_tokens, 5);
  EXPECT_EQ(window.summary(1.95, 1).generated_tokens, 100)
      << "the second that is not over does not count";
  const auto points = window.points(2.1);
  ASSERT_EQ(points.size(), 60u);
  EXPECT_EQ(points[59].generated_tokens, 100);
  EXPECT_EQ(points[58].generated_tokens, 100);
  EXPECT_EQ(points[57].generated_tokens, 0);
  EXPECT_EQ(window.summary(70, 60).generated_tokens, 0);
  window.tokens(64.5, 0, 7);  // takes the place of an old second
  EXPECT_EQ(window.summary(65.1, 60).generated_tokens, 7.0 / 60);
}

TEST(RecentWindow, QuantilesAreNearTheTrueOnes) {
  std::mt19937 random(3);
  std::lognormal_distribution<double> latency(-5, 1);
  RecentWindow window;
  std::vector<double> all;
  for (int i = 0; i < 20000; ++i) {
    all.push_back(latency(random));
    window.next_token(3.5, all.back());
  }
  std::sort(all.begin(), all.end());
  const auto point = window.summary(4, 10);
  // A bucket is a factor of sqrt(2) wide.
  EXPECT_NEAR(point.next_token_p50 / all[10000], 1, 0.15);
  EXPECT_NEAR(point.next_token_p99 / all[19800], 1, 0.25);
  EXPECT_EQ(point.first_token_p50, 0);
}

TEST(RecentWindow, BucketsCoverAllTimes) {
  EXPECT_EQ(bucket_of(0), 0u);
  EXPECT_EQ(bucket_of(1e9), RecentWindow::kBuckets);
  EXPECT_LT(bucket_of(0.001), bucket_of(0.002));
  EXPECT_EQ(bucket_quantile({}, 0.5), 0);
}

}  // namespace
}  // namespace conclave::coordinator
