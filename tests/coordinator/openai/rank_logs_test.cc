// What ranks wrote, bounded.
#include "coordinator/admin/rank_logs.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "coordinator/admin/failed_requests.h"

namespace conclave::coordinator {
namespace {

using Lines = std::vector<std::string>;

TEST(RankLogs, ALineBelongsToTheRankThatItNames) {
  EXPECT_EQ(rank_of_line("2026-12-01T00:00:00.000000Z info [worker] loaded rank=12 step=3"), 12);
  EXPECT_EQ(rank_of_line(R"({"level":"info","rank":3,"message":"loaded"})"), 3);
  for (const char* other : {"mpirun noticed that process rank 1 exited", " rank=", "rank=-1", ""}) {
    EXPECT_EQ(rank_of_line(other), -1) << other;
  }
  RankLogs logs;
  logs.add("[worker] b rank=1");
  logs.add("mpirun: hello");
  logs.add("[worker] a rank=0");
  const auto last = logs.last();
  ASSERT_EQ(last.size(), 3u);
  EXPECT_EQ(last[0].rank, -1);
  EXPECT_EQ(last[0].lines, Lines{"mpirun: hello"});
  EXPECT_EQ(last[2].rank, 1);
  EXPECT_EQ(last[2].lines, Lines{"[worker] b rank=1"});
}

TEST(RankLogs, NoRankTakesAllTheRoom) {
  RankLogs logs;
  logs.add("quiet rank=7");
  for (int i = 0; i < 1000; ++i) logs.add("loud rank=0 " + std::to_string(i));
  logs.add("long rank=1 " + std::string(10 * RankLogs::kLongestLine, 'x'));
  auto last = logs.last();
  ASSERT_EQ(last.size(), 3u);
  EXPECT_EQ(last[0].lines.size(), RankLogs::kLinesOfARank);
  EXPECT_EQ(last[0].lines.back(), "loud rank=0 999");
  EXPECT_LT(last[1].lines[0].size(), RankLogs::kLongestLine + 8);
  EXPECT_EQ(last[2].lines, Lines{"quiet rank=7"});

  for (int rank = 100; rank < 200; ++rank) {
    for (int i = 0; i < 60; ++i) logs.add("many rank=" + std::to_string(rank));
  }
  size_t lines = 0;
  for (const RankLog& log : logs.last()) lines += log.lines.size();
  EXPECT_EQ(lines, RankLogs::kLines);
}

TEST(RankLogs, EndsOfFilesThatSomethingElseWrites) {
  std::string folder = testing::TempDir() + "/rank-logs-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::ofstream(folder + "/rank-1.log") << "first\nsecond\n";
  std::ofstream(folder + "/rank-x.log") << "not a rank\n";
  std::ofstream(folder + "/preflight.log") << "not a rank\n";
  {
    std::ofstream file(folder + "/rank-10.log");
    for (int i = 0; i < 5000; ++i) file << "line " << i << "\n";
  }
  const RankLogs logs(folder);
  const auto last = logs.last();
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0].rank, 1);
  EXPECT_EQ(last[0].lines, (Lines{"first", "second"}));
  EXPECT_EQ(last[1].rank, 10);
  EXPECT_EQ(last[1].lines.size(), RankLogs::kLinesOfARank);
  EXPECT_EQ(last[1].lines.back(), "line 4999");
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(logs.last().empty());
}

TEST(FailedRequests, TheLastOnesByNumber) {
  FailedRequests failed;
  for (int i = 1; i <= 40; ++i) failed.add("r" + std::to_string(i), "the worker group failed");
  const auto list = failed.list();
  ASSERT_EQ(list.size(), FailedRequests::kKept);
  EXPECT_EQ(list.front().number, 9);
  EXPECT_EQ(list.back().request_id, "r40");
}

}  // namespace
}  // namespace conclave::coordinator
