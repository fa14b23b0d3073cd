// What people type as --model, and what they are told.

#include "model/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const std::string& given) {
  const auto folder = resolve_model_folder(given);
  EXPECT_FALSE(folder.ok()) << *folder;
  return std::string(folder.status().message());
}

class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(root_.file("good"));
    write_text(root_.file("good/config.json"), "{}");
  }
  // A model of the hub's cache with these snapshots.
  std::string cached(const std::string& name, const std::vector<std::string>& hashes) {
    for (const std::string& hash : hashes) {
      fs::create_directories(root_.file(name + "/snapshots/" + hash));
      write_text(root_.file(name + "/snapshots/" + hash + "/config.json"), "{}");
    }
    return root_.file(name);
  }
  TempFolder root_;
};

TEST_F(ModelFolder, PathsOfAFolderBecomeAbsoluteAndNormal) {
  const std::string good = root_.file("good");
  for (const std::string& given :
       {good, good + "/", good + "//", good + "/.", good + "/../good/"}) {
    const auto folder = resolve_model_folder(given);
    ASSERT_TRUE(folder.ok()) << folder.status();
    EXPECT_EQ(*folder, good);
  }
  fs::create_directory_symlink(good, root_.file("link"));
  EXPECT_EQ(*resolve_model_folder(root_.file("link/")), root_.file("link"));
}

TEST_F(ModelFolder, ATokenizerAloneIsEnoughForVerbsThatNeedNoMore) {
  fs::create_directories(root_.file("tokens"));
  write_text(root_.file("tokens/tokenizer.json"), "{}");
  EXPECT_TRUE(resolve_model_folder(root_.file("tokens")).ok());
  EXPECT_THAT(std::string(read_model_description(root_.file("tokens")).status().message()),
              HasSubstr("holds no config.json"));
}

TEST_F(ModelFolder, AHubIdIsToldHowToFetch) {
  ::setenv("HF_HUB_CACHE", root_.file("cache").c_str(), 1);
  EXPECT_THAT(error_of("acme/demo"),
              AllOf(HasSubstr("acme/demo: there is no such folder"), HasSubstr("not hub ids"),
                    HasSubstr("hf download acme/demo")));
  cached("cache/models--acme--demo", {"0123"});
  EXPECT_THAT(error_of("acme/demo"), HasSubstr("give " + root_.file("cache/models--acme--demo")));
  ::unsetenv("HF_HUB_CACHE");
}

TEST_F(ModelFolder, WhatIsNotThereIsNoHubId) {
  for (const std::string& given :
       {std::string("/nonexistent/x"), std::string("./acme/demo"), std::string("demo"),
        std::string("a/b/c"), std::string("acme/de mo")}) {
    EXPECT_THAT(error_of(given),
                AllOf(HasSubstr("there is no such folder"), testing::Not(HasSubstr("hf download"))))
        << given;
  }
  EXPECT_THAT(error_of(""), HasSubstr("--model is empty"));
}

TEST_F(ModelFolder, AFileIsToldItsFolder) {
  const std::string good = root_.file("good");
  write_text(good + "/model.safetensors", "x");
  for (const std::string& given :
       {good + "/config.json", good + "/model.safetensors", good + "/config.json/"}) {
    EXPECT_THAT(error_of(given),
                AllOf(HasSubstr("is a file"), HasSubstr("the folder that holds it: " + good)))
        << given;
  }
  EXPECT_THAT(error_of(good + "/config.json/below"), HasSubstr("there is no such folder"));
}

TEST_F(ModelFolder, FoldersWithoutAModelSayWhatTheyHold) {
  EXPECT_THAT(error_of(root_.path()),
              HasSubstr("give one of them, for example " + root_.file("good")));
  fs::create_directories(root_.file("empty"));
  EXPECT_THAT(error_of(root_.file("empty")), HasSubstr("holds no config.json, it is empty"));
  fs::create_directories(root_.file("adapter"));
  write_text(root_.file("adapter/adapter_config.json"), "{}");
  EXPECT_THAT(error_of(root_.file("adapter")), HasSubstr("merge it into its base model"));
  fs::create_directories(root_.file("gguf"));
  write_text(root_.file("gguf/model-q4.gguf"), "x");
  EXPECT_THAT(error_of(root_.file("gguf")), HasSubstr("GGUF files are not read"));
}

TEST_F(ModelFolder, TheRootOfAHubCacheMeansItsMainSnapshot) {
  const std::string one = cached("models--acme--one", {"abc"});
  EXPECT_EQ(*resolve_model_folder(one), one + "/snapshots/abc");
  const std::string two = cached("models--acme--two", {"abc", "def"});
  EXPECT_THAT(error_of(two),
              AllOf(HasSubstr("holds 2 snapshots"), HasSubstr(two + "/snapshots/def")));
  fs::create_directories(two + "/refs");
  write_text(two + "/refs/main", "abc\n");
  EXPECT_EQ(*resolve_model_folder(two + "/"), two + "/snapshots/abc");
  write_text(two + "/refs/main", "../../../good");
  EXPECT_THAT(error_of(two), HasSubstr("holds 2 snapshots"));
}

TEST(ModelFolderName, IsTheHubsNameOrTheFoldersOwn) {
  EXPECT_EQ(model_folder_name("/a/models--acme--demo/snapshots/0123abc"), "acme/demo");
  EXPECT_EQ(model_folder_name("/a/models--acme--demo/snapshots/0123abc/"), "acme/demo");
  EXPECT_EQ(model_folder_name("/a/models--gpt2/snapshots/0123abc"), "gpt2");
  EXPECT_EQ(model_folder_name("/a/models--acme--demo/other/0123abc"), "0123abc");
  EXPECT_EQ(model_folder_name("/a/snapshots/0123abc"), "0123abc");
  EXPECT_EQ(model_folder_name("/a/demo-moe/"), "demo-moe");
  EXPECT_EQ(model_folder_name("/a/demo.v2"), "demo.v2");
}

}  // namespace
}  // namespace conclave::model
