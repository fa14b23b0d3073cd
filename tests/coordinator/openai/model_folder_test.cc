// The model's files against what they were when they were loaded.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "coordinator/admin/model_folder_snapshot.h"
#include "coordinator/admin/model_folder_watch.h"

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "model-folder-XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    base_ = path;
    model_ = base_ / "m";
    fs::create_directory(model_);
    write("config.json", "{\"hidden_size\": 64}");
    write("model-00001-of-00002.safetensors", std::string(200000, 'w'));
    write("tokenizer.json", "{}");
    write("README.md", "about");
  }
  void TearDown() override { fs::remove_all(base_); }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(model_ / name, std::ios::binary) << content;
  }
  std::string path(const std::string& name) const { return (model_ / name).string(); }

  fs::path base_, model_;
};

TEST_F(ModelFolder, UntouchedFilesAreFine) {
  const auto snapshot = ModelFolderSnapshot::take(model_.string());
  EXPECT_EQ(snapshot.compare(), ModelFolderFindings{});
  // What no start reads may change, and what was not there may come.
  write("README.md", "another text");
  write("notes.txt", "mine");
  EXPECT_EQ(snapshot.compare(), ModelFolderFindings{});
}

TEST_F(ModelFolder, AFolderThatIsGoneComesBackWithTheSameFiles) {
  const auto snapshot = ModelFolderSnapshot::take(model_.string());
  fs::rename(model_, base_ / "elsewhere");
  EXPECT_EQ(snapshot.compare().gone, std::vector{model_.string() + ": the folder is gone"});
  fs::rename(base_ / "elsewhere", model_);
  EXPECT_EQ(snapshot.compare(), ModelFolderFindings{});
  fs::remove_all(model_);
  std::ofstream(model_) << "a file in its place";
  EXPECT_EQ(snapshot.compare().gone.size(), 1u);
}

TEST_F(ModelFolder, EachMissingFileIsNamed) {
  const auto snapshot = ModelFolderSnapshot::take(model_.string());
  fs::remove(model_ / "config.json");
  fs::remove(model_ / "tokenizer.json");
  fs::create_directory(model_ / "tokenizer.json");
  const ModelFolderFindings found = snapshot.compare();
  ASSERT_EQ(found.gone.size(), 2u);
  EXPECT_EQ(found.gone[0], path("config.json") + ": is gone");
  EXPECT_NE(found.gone[1].find("cannot be read"), std::string::npos) << found.gone[1];
  EXPECT_TRUE(found.changed.empty());
}

TEST_F(ModelFolder, OtherContentIsSeenWhateverItsLength) {
  const auto snapshot = ModelFolderSnapshot::take(model_.string());
  write("config.json", "{\"hidden_size\": 65}");  // as long as before
  fs::resize_file(model_ / "model-00001-of-00002.safetensors", 1000);
  const ModelFolderFindings found = snapshot.compare();
  ASSERT_EQ(found.changed.size(), 2u);
  EXPECT_EQ(found.changed[0], path("config.json") + ": has other content than when it was loaded");
  EXPECT_EQ(found.changed[1], path("model-00001-of-00002.safetensors") +
                                  ": has 1000 bytes, had 200000 when it was loaded");
}

TEST_F(ModelFolder, TheSameContentWrittenAgainIsNoChangeWhereItCanBeCompared) {
  const auto snapshot = ModelFolderSnapshot::take(model_.string());
  const auto old = fs::last_write_time(model_ / "model-00001-of-00002.safetensors");
  fs::remove(model_ / "config.json");
  write("config.json", "{\"hidden_size\": 64}");
  fs::remove(model_ / "model-00001-of-00002.safetensors");
  write("model-00001-of-00002.safetensors", std::string(200000, 'w'));
  fs::last_write_time(model_ / "model-00001-of-00002.safetensors", old);  // as a copy keeps it
  EXPECT_EQ(snapshot.compare(), ModelFolderFindings{});
  // Behind the beginning of a weight file only its time tells.
  std::string other(200000, 'w');
  other.back() = 'x';
  write("model-00001-of-00002.safetensors", other);
  fs::last_write_time(model_ / "model-00001-of-00002.safetensors", old + seconds(1));
  EXPECT_EQ(snapshot.compare().changed.size(), 1u);
}

TEST_F(ModelFolder, UnreadableForItsUser) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  const auto snapshot = ModelFolderSnapshot::take(model_.string());
  fs::permissions(model_, fs::perms::none);
  const ModelFolderFindings found = snapshot.compare();
  fs::permissions(model_, fs::perms::owner_all);
  ASSERT_EQ(found.gone.size(), 1u);
  EXPECT_NE(found.gone[0].find("cannot be read"), std::string::npos) << found.gone[0];
}

TEST_F(ModelFolder, AWatchLooksWhenItIsAsked) {
  const ModelFolderWatch watch(model_.string(), std::chrono::hours(1));
  EXPECT_EQ(watch.look(seconds(60)), ModelFolderFindings{});
  fs::remove(model_ / "config.json");
  EXPECT_EQ(watch.last(), ModelFolderFindings{}) << "nobody asked since";
  EXPECT_EQ(watch.look(seconds(60)).gone.size(), 1u);
  EXPECT_EQ(watch.last().gone.size(), 1u);
  write("config.json", "{\"hidden_size\": 64}");
  EXPECT_EQ(watch.look(seconds(60)), ModelFolderFindings{});
}

TEST_F(ModelFolder, AWatchLooksByItself) {
  const ModelFolderWatch watch(model_.string(), std::chrono::milliseconds(5));
  fs::remove_all(model_);
  while (watch.last().gone.empty()) ::usleep(1000);  // the test's time-out ends it
}

}  // namespace
}  // namespace conclave::coordinator
