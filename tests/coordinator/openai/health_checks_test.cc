#include "coordinator/admin/health_checks.h"

#include <gtest/gtest.h>

#include <fstream>

namespace conclave::coordinator {
namespace {

EngineStatus healthy() {
  EngineStatus status;
  status.state = GroupState::kReady;
  status.kv_blocks = 100;
  for (int32_t rank = 0; rank < 3; ++rank) {
    RankStatus& one = status.ranks.emplace_back();
    one.rank = rank;
    one.host = "node" + std::to_string(rank);
    one.connected = true;
    one.operation = "idle";
    one.operation_age_seconds = 1000;  // idle for long is no fault
  }
  return status;
}

std::vector<std::string> codes(const HealthInput& input) {
  std::vector<std::string> result;
  for (const HealthCheck& check : health_checks(input)) {
    result.push_back(check.code);
    EXPECT_FALSE(check.summary.empty());
    EXPECT_FALSE(check.advice.empty()) << check.code;
  }
  return result;
}

using Codes = std::vector<std::string>;

TEST(HealthChecks, NothingWrongNothingSaid) {
  EXPECT_EQ(codes({healthy(), {1.0, 1.4}}), Codes{});
  EXPECT_EQ(worst_severity({}), Severity::kOk);
}

TEST(HealthChecks, EachFaultHasItsCodeAndNamesItsRank) {
  EngineStatus status = healthy();
  status.ranks[0].connected = false;
  status.ranks[1].heartbeat_age_seconds = 2;
  status.ranks[2].operation = "attention";
  status.ranks[2].operation_age_seconds = 9;
  status.kv_blocks_used = 96;
  status.waiting = 100;
  status.restarts = 1;
  EXPECT_EQ(codes({status, {1.0, 1.6}}),
            (Codes{"RANK_DOWN", "GROUP_RESTARTED", "RANK_SILENT", "RANK_STUCK", "KV_NEARLY_FULL",
                   "QUEUE_LONG", "EXPERTS_IMBALANCED"}));
  const auto checks = health_checks({status, {}});
  EXPECT_EQ(worst_severity(checks), Severity::kError);
  EXPECT_NE(checks[0].details[0].find("node0"), std::string::npos);
}

TEST(HealthChecks, GroupStates) {
  const auto in_state = [](GroupState state) {
    EngineStatus status = healthy();
    status.state = state;
    status.ranks[1].connected = false;  // who has not joined yet is not down
    return codes({status, {}});
  };
  EXPECT_EQ(in_state(GroupState::kStarting), Codes{"GROUP_LOADING"});
  EXPECT_EQ(in_state(GroupState::kLoading), Codes{"GROUP_LOADING"});
  EXPECT_EQ(in_state(GroupState::kFailed), Codes{"GROUP_FAILED"});
  EXPECT_EQ(in_state(GroupState::kStopped), Codes{"GROUP_STOPPED"});
}

TEST(HealthChecks, CordonAndStopDiffer) {
  EngineStatus status = healthy();
  status.draining = true;
  EXPECT_EQ(codes({status, {}}), Codes{"DRAINING"});
  status.cordon_reason = "new disks";
  EXPECT_EQ(codes({status, {}}), Codes{"CORDONED"});
  status.handed_over_to = "http://next:8000";
  status.since = 1e9;
  EXPECT_EQ(codes({status, {}}), Codes{"HANDED_OVER"});
  EXPECT_EQ(health_checks({status, {}})[0].details, Codes{"since 2001-09-09T01:46:40Z"});
}

TEST(HealthChecks, AModelThatCannotBeLoadedAgainIsAnError) {
  HealthInput input{healthy(), {}};
  input.model_folder.gone = {"/m: the folder is gone"};
  input.model_folder.changed = {"/m/config.json: has other content than when it was loaded"};
  input.model_folder.silent_seconds = 12;
  EXPECT_EQ(codes(input), (Codes{"MODEL_GONE", "MODEL_CHANGED", "MODEL_UNREACHABLE"}));
  const auto checks = health_checks(input);
  EXPECT_EQ(worst_severity(checks), Severity::kError);
  EXPECT_EQ(checks[0].details, input.model_folder.gone);
  EXPECT_NE(checks[2].summary.find("12 s"), std::string::npos) << checks[2].summary;
}

TEST(HealthChecks, EveryCodeIsDocumented) {
  std::ifstream file(std::string(CONCLAVE_SOURCE_DIR) + "/docs/conclavectl.md");
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  for (const char* code :
       {"GROUP_LOADING", "GROUP_FAILED", "GROUP_STOPPED", "GROUP_RESTARTED", "CORDONED",
        "HANDED_OVER", "DRAINING", "RANK_DOWN", "RANK_SILENT", "RANK_STUCK", "KV_NEARLY_FULL",
        "QUEUE_LONG", "EXPERTS_IMBALANCED", "MODEL_GONE", "MODEL_CHANGED", "MODEL_UNREACHABLE"}) {
    EXPECT_NE(page.find("| `" + std::string(code) + "` |"), std::string::npos) << code;
  }
}

}  // namespace
}  // namespace conclave::coordinator
