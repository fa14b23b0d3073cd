#include "coordinator/http/api_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/file.h"
#include "base/log.h"
#include "coordinator/http/api_key_file.h"

namespace conclave::coordinator {
namespace {

ApiKeys keys_of(std::string_view text) {
  auto keys = ApiKeys::from_text(text, "keys");
  EXPECT_TRUE(keys.ok()) << keys.status();
  return keys.ok() ? *keys : ApiKeys();
}

TEST(ApiKeys, OneKeyALineWithoutBlanksAndComments) {
  const ApiKeys keys = keys_of("# team\nalpha\r\n\n  beta  \n gamma # the third");
  for (const char* right : {"alpha", "beta", "gamma"})
    EXPECT_NE(keys.find("Bearer " + std::string(right)), nullptr) << right;
  for (const char* wrong : {"", "alph", "alphaa", "Alpha", "# team", "#", "third", "delta"})
    EXPECT_EQ(keys.find("Bearer " + std::string(wrong)), nullptr) << wrong;
}

TEST(ApiKeys, FileWithoutAKeyIsAnError) {
  const auto keys = ApiKeys::from_text("\n# nothing\n", "keys.txt");
  ASSERT_FALSE(keys.ok());
  EXPECT_NE(keys.status().message().find("keys.txt"), std::string::npos);
  EXPECT_FALSE(ApiKeys::from_file("/nonexistent/keys").ok());
}

TEST(ApiKeys, HeaderNeedsTheBearerScheme) {
  const ApiKeys keys = keys_of("alpha");
  EXPECT_FALSE(keys.check("Bearer alpha").has_value());
  EXPECT_FALSE(keys.check("bearer  alpha ").has_value());
  for (const char* wrong :
       {"", "alpha", "Basic alpha", "Bearer", "Bearer ", "Beareralpha", "Bearer beta"}) {
    const auto error = keys.check(wrong);
    ASSERT_TRUE(error.has_value()) << wrong;
    EXPECT_EQ(error->status, 401);
    EXPECT_EQ(error->code, "invalid_api_key");
  }
  EXPECT_FALSE(ApiKeys().check("").has_value());
}

TEST(ApiKeys, SettingsStandBehindTheKey) {
  const ApiKeys keys = keys_of("plain\n\nfull name=team-a  weight=3\tbest_priority=-10 # ours\n");
  std::shared_ptr<const ApiKey> key;
  EXPECT_FALSE(keys.check("Bearer plain", &key).has_value());
  EXPECT_EQ(key->name, "key-1");
  EXPECT_EQ(key->weight, 1);
  EXPECT_EQ(key->best_priority, 0);
  EXPECT_FALSE(keys.check("Bearer full", &key).has_value());
  EXPECT_EQ(key->name, "team-a");
  EXPECT_EQ(key->weight, 3);
  EXPECT_EQ(key->best_priority, -10);
}

TEST(ApiKeys, WhatALineCannotMeanIsRefusedWithItsPlace) {
  for (const auto& [line, word] : std::vector<std::pair<std::string, std::string>>{
           {"secret wieght=3", "no setting"},
           {"secret two", "no setting"},
           {"secret =3", "no setting"},
           {"secret weight=0", "weight"},
           {"secret weight=1001", "weight"},
           {"secret weight=2.5", "weight"},
           {"secret weight=", "weight"},
           {"secret weight=2 weight=2", "twice"},
           {"secret best_priority=high", "best_priority"},
           {"secret best_priority=99999999999", "best_priority"},
           {"secret name=", "name"},
           {"secret name=a/b", "name"},
           {"secret name=" + std::string(65, 'a'), "name"},
           {"secret name=key-1", "key-1"},  // what the first line is called
           {"first weight=2", "line 1"},
           {"\xef\xbb\xbfsecret", "printable"}}) {
    const auto keys = ApiKeys::from_text("first\n# second\n" + line + "\nfourth\n", "keys.txt");
    ASSERT_FALSE(keys.ok()) << line;
    const std::string why(keys.status().message());
    EXPECT_EQ(why.rfind("keys.txt:3: ", 0), 0u) << why;
    EXPECT_NE(why.find(word), std::string::npos) << why;
    EXPECT_EQ(why.find("secret"), std::string::npos) << why << " says the key";
  }
}

TEST(ApiKeys, CopiesSeeWhatAReloadAdopts) {
  ApiKeys keys = keys_of("old\nboth name=b\n");
  const ApiKeys guard = keys;
  const auto before = guard.find("Bearer old");
  keys.adopt(keys_of("both name=b weight=7\nnew\n"));
  EXPECT_EQ(guard.find("Bearer old"), nullptr);
  EXPECT_NE(guard.find("Bearer new"), nullptr);
  EXPECT_EQ(guard.find("Bearer both")->weight, 7);
  EXPECT_EQ(before->name, "key-1");  // for who came with it
}

TEST(ApiKeys, AFileThatOthersMayWriteIsRefused) {
  const std::string path = testing::TempDir() + "/api_keys_test";
  ASSERT_TRUE(write_file_atomically(path, "alpha\n").ok());
  for (const auto& [mode, opens] : std::vector<std::pair<mode_t, bool>>{{0600, true},
                                                                        {0400, true},
                                                                        {0640, true},
                                                                        {0644, true},
                                                                        {0664, false},
                                                                        {0646, false},
                                                                        {0602, false},
                                                                        {0666, false}}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const auto keys = ApiKeys::from_file(path);
    EXPECT_EQ(keys.ok(), opens) << std::oct << mode << " " << keys.status();
    if (opens) continue;
    EXPECT_TRUE(absl::IsPermissionDenied(keys.status()));
    EXPECT_NE(keys.status().message().find("chmod go-w " + path), std::string::npos)
        << keys.status();
  }
  const int64_t warnings = log_record_count(LogLevel::kWarning);
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  EXPECT_TRUE(ApiKeys::from_file(path).ok());
  EXPECT_EQ(log_record_count(LogLevel::kWarning), warnings);
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(ApiKeys::from_file(path).ok());
  EXPECT_EQ(log_record_count(LogLevel::kWarning), warnings + 1);
}

TEST(ApiKeys, AClientOfTheFileSendsItsFirstKeyWithoutItsSettings) {
  const std::string path = testing::TempDir() + "first-key-" + std::to_string(::getpid());
  ASSERT_TRUE(
      write_file_atomically(path, "# ours\n\nsk-one name=alice weight=2\nsk-two\n", 0600).ok());
  EXPECT_EQ(*first_api_key(path), "sk-one");
  ASSERT_TRUE(write_file_atomically(path, "# none\n", 0600).ok());
  EXPECT_FALSE(first_api_key(path).ok());
  ::unlink(path.c_str());
  EXPECT_FALSE(first_api_key(path).ok());
}

}  // namespace
}  // namespace conclave::coordinator
