#include "base/log_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/file.h"
#include "base/log.h"

// A program of its own: where the log goes is for all of a process.
namespace conclave {
namespace {

TEST(LogFile, RecordsGoOnInANewFileAfterARename) {
  const std::string path = testing::TempDir() + "/log_file_test." + std::to_string(::getpid());
  EXPECT_FALSE(open_log_file("/nonexistent/folder/log").ok());
  ASSERT_TRUE(open_log_file(path).ok());
  log_error("first");
  ASSERT_EQ(std::rename(path.c_str(), (path + ".1").c_str()), 0);
  log_error("second");
  ASSERT_TRUE(reopen_log_file().ok());
  log_error("third");
  write_log_line("of a rank");
  const std::string old = *read_file(path + ".1"), now = *read_file(path);
  EXPECT_NE(old.find("first"), std::string::npos);
  EXPECT_NE(old.find("second"), std::string::npos);
  EXPECT_NE(now.find("third"), std::string::npos);
  EXPECT_NE(now.find("\nof a rank\n"), std::string::npos);
  EXPECT_EQ(old.find("third"), std::string::npos);
  ASSERT_EQ(std::remove(path.c_str()), 0);
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  EXPECT_FALSE(reopen_log_file().ok());
  log_error("fourth");  // somewhere, and not into a closed file
  ASSERT_EQ(::rmdir(path.c_str()), 0);
  ASSERT_TRUE(reopen_log_file().ok());
  EXPECT_EQ(*read_file(path), "");
}

}  // namespace
}  // namespace conclave
