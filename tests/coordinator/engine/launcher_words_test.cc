#include "coordinator/engine/launcher_words.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

LauncherWords read(const std::vector<std::string>& lines) {
  LauncherWords words;
  for (const std::string& line : lines) words.add(line);
  return words;
}

TEST(LauncherWords, MpirunTellsOfASignal) {
  const LauncherWords words = read({
      "--------------------------------------------------------------------------",
      "Primary job  terminated normally, but 1 process returned",
      "a non-zero exit code. Per user-direction, the job has been aborted.",
      "--------------------------------------------------------------------------",
      "mpirun noticed that process rank 3 with PID 0 on node north exited on signal 9 (Killed).",
  });
  ASSERT_TRUE(words.rank_end());
  EXPECT_EQ(words.rank_end()->rank, 3);
  EXPECT_EQ(words.rank_end()->host, "north");
  EXPECT_EQ(words.rank_end()->how, "was killed by signal 9 (Killed)");
}

TEST(LauncherWords, ASentenceMayBeBrokenAnywhere) {
  const LauncherWords words =
      read({"prterun noticed that process rank 1 with PID 4711 on node south exited on",
            "signal 11 (Segmentation fault)."});
  ASSERT_TRUE(words.rank_end());
  EXPECT_EQ(words.rank_end()->rank, 1);
  EXPECT_EQ(words.rank_end()->how.find("was killed by signal 11"), 0u);
}

TEST(LauncherWords, MpirunTellsOfAnExitStatus) {
  const LauncherWords words =
      read({"mpirun detected that one or more processes exited with non-zero status, thus causing",
            "the job to be terminated. The first process to do so was:", "",
            "  Process name: [[1234,1],2]", "  Exit code:    17"});
  ASSERT_TRUE(words.rank_end());
  EXPECT_EQ(words.rank_end()->rank, 2);
  EXPECT_EQ(words.rank_end()->how, "exited with status 17");
}

TEST(LauncherWords, SrunTellsHostAndTask) {
  EXPECT_EQ(read({"srun: error: n2: task 1: Killed"}).rank_end()->how, "ended: Killed");
  const LauncherWords words = read(
      {"srun: error: n2: tasks 4-5: Exited with exit code 3", "srun: error: n1: task 0: Killed"});
  ASSERT_TRUE(words.rank_end());
  EXPECT_EQ(words.rank_end()->rank, 4) << "the first that ended";
  EXPECT_EQ(words.rank_end()->host, "n2");
  EXPECT_EQ(words.rank_end()->how, "exited with status 3");
  EXPECT_FALSE(read({"srun: error: Unable to create step: Invalid partition"}).rank_end());
}

TEST(LauncherWords, LastWordsLeaveOutLogsAndFrames) {
  const LauncherWords words =
      read({"2026-12-01T03:13:57.376512Z info [worker] running on the CPU",
            R"({"time":"2026-12-01T03:13:57.376512Z","level":"info"})", "-----", "",
            "  mpirun: Error: unknown option \"--bogus\"", "Type 'mpirun --help'\tfor usage."});
  EXPECT_EQ(words.last_words(),
            "mpirun: Error: unknown option \"--bogus\" / Type 'mpirun --help' for usage.");
  EXPECT_FALSE(words.rank_end());
  EXPECT_EQ(LauncherWords().last_words(), "");
}

TEST(LauncherWords, AreBoundedWhateverComes) {
  LauncherWords words;
  for (int i = 0; i < 1000; ++i) words.add(std::string(10000, 'x'));
  EXPECT_LT(words.last_words().size(), 1000u);
  words.add("process rank");
  words.add("srun: error: ");
  words.add("process rank x with PID y on node z exited on signal w");
  EXPECT_FALSE(words.rank_end());
}

}  // namespace
}  // namespace conclave::coordinator
