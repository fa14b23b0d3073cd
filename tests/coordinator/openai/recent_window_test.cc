#include "coordinator/admin/recent_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace conclave::coordinator {
namespace {

TEST(RecentWindow, CountsUpToThisMomentAndForgetsOldOnes) {
  RecentWindow window;
  window.tokens(0.25, 10, 100);
  EXPECT_EQ(window.summary(0.25, 10).generated_tokens, 100) << "a first second counts as one";
  window.tokens(1.5, 0, 50);
  window.tokens(1.75, 0, 50);
  EXPECT_EQ(window.summary(2.0, 10).generated_tokens, 100) << "two seconds of life, not ten";
  EXPECT_EQ(window.summary(2.0, 10).prompt_tokens, 5);
  EXPECT_EQ(window.summary(2.5, 2).generated_tokens, 100 / 1.5);
  EXPECT_EQ(window.summary(70, 60).generated_tokens, 0);
  window.tokens(64.5, 0, 7);  // takes the place of an old second
  EXPECT_EQ(window.summary(65.5, 60).generated_tokens, 7.0 / 59.5);
}

// A burst that ended just now: 0 tokens per second would be a lie to whoever looks.
TEST(RecentWindow, ABurstShowsAtOnceAndForTheWholeWindow) {
  RecentWindow window;
  window.tokens(100.1, 0, 90);
  window.next_token(100.1, 0.004);
  for (const double now : {100.15, 100.9, 101.5, 105.0, 108.9}) {
    EXPECT_GE(window.summary(now, 10).generated_tokens, 9) << now;
    EXPECT_LE(window.summary(now, 10).generated_tokens, 10) << now;
    EXPECT_GT(window.summary(now, 10).next_token_p50, 0) << now;
  }
  EXPECT_EQ(window.summary(110.0, 10).generated_tokens, 0);
}

TEST(RecentWindow, PointsAreWholeSecondsOldestFirst) {
  RecentWindow window;
  window.tokens(0.5, 10, 100);
  window.tokens(1.2, 0, 50);
  window.tokens(1.9, 0, 50);
  window.tokens(2.05, 0, 3);
  const auto points = window.points(2.1);
  ASSERT_EQ(points.size(), 60u);
  EXPECT_EQ(points[59].generated_tokens, 100);
  EXPECT_EQ(points[58].generated_tokens, 100);
  EXPECT_EQ(points[57].generated_tokens, 0);
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
