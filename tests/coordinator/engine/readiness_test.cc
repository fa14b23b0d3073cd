#include "coordinator/engine/readiness.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using testing::HasSubstr;

EngineStatus status_of(GroupState state) {
  EngineStatus status;
  status.state = state;
  status.since = 1'796'094'487;
  return status;
}

TEST(Readiness, AReadyGroupNeedsNoReason) {
  const Readiness ready = readiness(status_of(GroupState::kReady));
  EXPECT_TRUE(ready.ready);
  EXPECT_EQ(ready.reason, "");
  EXPECT_EQ(ready.since, 1'796'094'487);
}

TEST(Readiness, SaysHowFarLoadingIs) {
  EngineStatus status = status_of(GroupState::kStarting);
  status.ranks.resize(2);
  status.ranks[1].connected = true;
  EXPECT_THAT(readiness(status).reason, HasSubstr("1 of 2 ranks have joined"));
  status.state = GroupState::kLoading;
  status.ranks[0].load_bytes_done = 3 << 20;
  status.ranks[0].load_bytes_total = 8 << 20;
  status.ranks[1].load_bytes_done = 1 << 20;
  status.ranks[1].load_bytes_total = 8 << 20;
  EXPECT_THAT(readiness(status).reason, HasSubstr("4 of 16 MiB (25 %)"));
  status.last_failure = "rank 1 died";
  EXPECT_THAT(readiness(status).reason, HasSubstr("before that: rank 1 died"));
  status.checking = true;
  EXPECT_THAT(readiness(status).reason, HasSubstr("start-up check"));
  EXPECT_FALSE(readiness(status).ready);
}

TEST(Readiness, SaysWhatFailed) {
  EngineStatus status = status_of(GroupState::kFailed);
  status.last_failure = "rank 1 (host a, pid 7) was killed by signal 9 (Killed)";
  EXPECT_THAT(readiness(status).reason,
              testing::AllOf(HasSubstr("is being restarted"), HasSubstr("signal 9")));
  status.start_failure = EngineStatus::StartFailure::kRefused;
  EXPECT_THAT(readiness(status).reason, HasSubstr("could not be started"));
}

TEST(Readiness, ACordonADrainAndAHandoverAreTold) {
  EngineStatus status = status_of(GroupState::kDraining);
  status.draining = true;
  status.open = 3;
  EXPECT_THAT(readiness(status).reason,
              testing::AllOf(HasSubstr("draining"), HasSubstr("3 requests are open")));
  status.cordon_reason = "new disks";
  EXPECT_THAT(readiness(status).reason,
              testing::AllOf(HasSubstr("cordoned"), HasSubstr("new disks")));
  status.state = GroupState::kFailed;
  status.last_failure = "rank 0 died";
  EXPECT_THAT(readiness(status).reason,
              testing::AllOf(HasSubstr("new disks"), HasSubstr("rank 0 died")));
  status = status_of(GroupState::kReady);
  status.handed_over_to = "http://b:8000";
  EXPECT_FALSE(readiness(status).ready);
  EXPECT_THAT(readiness(status).reason, HasSubstr("passed on to http://b:8000"));
}

TEST(Readiness, TimesAreUtc) {
  EXPECT_EQ(utc_text(1'796'094'487), "2026-12-01T03:08:07Z");
  EXPECT_EQ(utc_text(0), "");
}

}  // namespace
}  // namespace conclave::coordinator
