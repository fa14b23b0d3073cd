#include "coordinator/engine/run_folder.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "run-folder-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    base_ = name;
  }
  void TearDown() override { fs::remove_all(base_); }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(base_), fs::directory_iterator()));
  }
  std::string base_;
};

TEST_F(RunFolderTest, IsPrivateAndGoesWithItsOwner) {
  {
    const auto folder = RunFolder::create(base_);
    ASSERT_TRUE(folder.ok()) << folder.status();
    struct stat info {};
    ASSERT_EQ(::stat((*folder)->path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
    std::ofstream((*folder)->path() + "/secret") << "x";
    ASSERT_TRUE((*folder)->fresh("mpi").ok());
    EXPECT_EQ(entries(), 1u);
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(RunFolderTest, AFreshFolderIsEmptyEachTime) {
  const auto folder = RunFolder::create(base_);
  ASSERT_TRUE(folder.ok());
  const std::string path = *(*folder)->fresh("mpi");
  std::ofstream(path + "/left") << "x";
  EXPECT_EQ(*(*folder)->fresh("mpi"), path);
  EXPECT_TRUE(fs::is_empty(path));
}

TEST_F(RunFolderTest, TheNextRunSweepsWhatADeadOneLeftAndNothingElse) {
  const auto living = RunFolder::create(base_);
  ASSERT_TRUE(living.ok());
  fs::create_directory(base_ + "/conclave-other");
  fs::create_directory_symlink((*living)->path(), base_ + "/conclave-run-link");
  const pid_t other = ::fork();
  if (other == 0) {
    const auto folder = RunFolder::create(base_);
    std::ofstream((*folder)->path() + "/secret") << "x";
    ::raise(SIGKILL);
  }
  ::waitpid(other, nullptr, 0);
  EXPECT_EQ(entries(), 4u);
  {
    const auto next = RunFolder::create(base_);
    ASSERT_TRUE(next.ok());
    EXPECT_EQ(entries(), 4u) << "the dead one's is gone, the new one is there";
  }
  EXPECT_EQ(entries(), 3u);
  EXPECT_TRUE(fs::exists((*living)->path()));
}

TEST_F(RunFolderTest, AWrongTmpdirIsNamedWithWhatToDo) {
  const auto base_with = [](const char* value) {
    ::setenv("TMPDIR", value, 1);
    auto base = temporary_base();
    ::unsetenv("TMPDIR");
    return base;
  };
  EXPECT_EQ(*temporary_base(), "/tmp");
  EXPECT_EQ(*base_with(base_.c_str()), base_);
  const auto missing = base_with("/nowhere/at/all");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"TMPDIR", "/nowhere/at/all", "no folder", "unset it"})
    EXPECT_NE(std::string(missing.status().message()).find(part), std::string::npos)
        << missing.status();
  std::ofstream(base_ + "/file") << "x";
  EXPECT_FALSE(base_with((base_ + "/file").c_str()).ok());
  EXPECT_FALSE(RunFolder::create("/proc").ok());
}

}  // namespace
}  // namespace conclave::coordinator
