#include "coordinator/admin/admin_guard.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "coordinator/admin/admin_audit.h"
#include "coordinator/admin/document_folder.h"

namespace conclave::coordinator {
namespace {

HttpRequest request_of(std::optional<uint32_t> uid, std::string path = "/admin/v1/status",
                       std::string host = "127.0.0.1:8001") {
  HttpRequest request;
  request.method = "POST";
  request.path = std::move(path);
  request.host = host;
  request.headers = {{"Host", host}};
  request.peer = {"127.0.0.1:4000", uid};
  return request;
}

int answer(const AdminGuard& guard, HttpRequest request) {
  const auto error = guard.check(request);
  return error ? error->status : 200;
}

TEST(AdminGuard, WithoutAKeyItServesItsUserAndRoot) {
  const AdminGuard guard(ApiKeys(), "127.0.0.1");
  EXPECT_EQ(answer(guard, request_of(::geteuid())), 200);
  EXPECT_EQ(answer(guard, request_of(0)), 200);
  EXPECT_EQ(answer(guard, request_of(::geteuid() + 65534)), 403);
  EXPECT_EQ(answer(guard, request_of(std::nullopt)), 403) << "the kernel does not tell";
  for (const char* open : {"/metrics", "/health", "/ui", "/ui/page.js"})
    EXPECT_EQ(answer(guard, request_of(::geteuid() + 65534, open)), 200) << open;
  HttpRequest stranger = request_of(::geteuid() + 65534);
  EXPECT_NE(guard.check(stranger)->message.find("--admin-key-file"), std::string::npos);
  // A body makes them no longer free for all: it would be kept before anybody looked.
  HttpRequest heavy = request_of(::geteuid() + 65534, "/metrics");
  heavy.headers.push_back({"Content-Length", "1000000"});
  EXPECT_EQ(answer(guard, heavy), 403);
}

TEST(AdminGuard, KeysDecideWhereThereAreSome) {
  const AdminGuard guard(*ApiKeys::from_text("secret", "test"), "127.0.0.1");
  EXPECT_EQ(answer(guard, request_of(::geteuid())), 401);
  HttpRequest right = request_of(::geteuid() + 65534);
  right.headers.push_back({"Authorization", "Bearer secret"});
  EXPECT_EQ(guard.check(right), std::nullopt);
  EXPECT_NE(right.key, nullptr);
}

TEST(AdminGuard, ReboundNamesAreOtherSites) {
  const AdminGuard guard(ApiKeys(), "127.0.0.1");
  for (const char* local : {"localhost:8001", "127.0.0.1:8001", "[::1]:8001", "127.8.8.8"})
    EXPECT_EQ(answer(guard, request_of(0, "/admin/v1/status", local)), 200) << local;
  for (const char* evil : {"127.evil.example:8001", "127.0.0.1.evil", "localhost.evil:8001",
                           "0x7f.1", "evil.example", "127.0.0.1@evil.example", "[::ffff:10.0.0.1]"})
    EXPECT_EQ(answer(guard, request_of(0, "/admin/v1/status", evil)), 403) << evil;
  // An absolute target's host counts as much as the header's.
  HttpRequest absolute = request_of(0);
  absolute.host = "evil.example";
  EXPECT_EQ(answer(guard, absolute), 403);
  absolute.host = "127.0.0.1:8001";
  absolute.headers = {{"Host", "evil.example"}};
  EXPECT_EQ(answer(guard, absolute), 403);
}

TEST(AdminGuard, OriginsAreTheListenersOwn) {
  const AdminGuard guard(ApiKeys(), "127.0.0.1");
  const auto with_origin = [&](const char* origin, const char* host = "127.0.0.1:8001") {
    HttpRequest request = request_of(0, "/admin/v1/status", host);
    request.headers.push_back({"Origin", origin});
    return answer(guard, request);
  };
  EXPECT_EQ(with_origin("http://127.0.0.1:8001"), 200);
  EXPECT_EQ(with_origin("http://LOCALHOST:8001", "localhost:8001"), 200);
  for (const char* other : {"http://127.0.0.1:9000", "http://127.evil.example:8001", "null",
                            "http://evil.example", "127.0.0.1:8001"})
    EXPECT_EQ(with_origin(other), 403) << other;
  EXPECT_EQ(with_origin("http://127.evil.example:8001", "127.evil.example:8001"), 403);
}

TEST(AdminGuard, AnAddressThatBeginsLikeLoopbackIsNotLocal) {
  EXPECT_TRUE(AdminGuard(ApiKeys(), "127.0.0.2").local());
  EXPECT_TRUE(AdminGuard(ApiKeys(), "unix:/run/x").local());
  EXPECT_FALSE(AdminGuard(ApiKeys(), "127.evil.example").local());
}

TEST(LogBrake, LetsABurstPassAndSumsUpTheRest) {
  using std::chrono::seconds;
  const std::chrono::steady_clock::time_point begin{std::chrono::hours(1)};
  LogBrake brake(2, seconds(5));
  EXPECT_EQ(brake.pass(begin), 0);
  EXPECT_EQ(brake.pass(begin), 0);
  EXPECT_EQ(brake.pass(begin), -1);
  EXPECT_EQ(brake.pass(begin + seconds(4)), -1);
  EXPECT_EQ(brake.pass(begin + seconds(6)), 2);
  EXPECT_EQ(brake.pass(begin + seconds(7)), -1);
}

class DocumentFolderTest : public testing::Test {
 protected:
  DocumentFolderTest() {
    std::string pattern = testing::TempDir() + "documents-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
  }
  ~DocumentFolderTest() override { std::filesystem::remove_all(base_); }
  static absl::StatusOr<std::string> save(const DocumentFolder& folder, const std::string& name,
                                          const std::string& text = "new") {
    return folder.save(name,
                       [&](const std::string& path) { return write_file_atomically(path, text); });
  }
  static mode_t mode(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info.st_mode & 0777;
  }
  std::string base_;
};

TEST_F(DocumentFolderTest, KeepsWhatIsSavedForItsUserAlone) {
  const DocumentFolder folder(base_ + "/a/state");
  const auto path = save(folder, "profile-1.json", "one");
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(*path, base_ + "/a/state/profile-1.json");
  EXPECT_EQ(mode(*path), 0600u);
  EXPECT_EQ(mode(folder.path()), 0700u);
  EXPECT_EQ(*folder.find("profile-1.json"), *path);
  EXPECT_TRUE(save(folder, "profile-1.json", "two").ok());
  EXPECT_EQ(*read_file(*path), "two");
  EXPECT_EQ(folder.find("other").status().code(), absl::StatusCode::kNotFound);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path()))
    ++files;
  EXPECT_EQ(files, 1u) << "nothing else stays behind";
}

TEST_F(DocumentFolderTest, NamesAreNoPaths) {
  const DocumentFolder folder(base_ + "/state");
  for (const std::string& name :
       {std::string(""), std::string("."), std::string(".."), std::string("../x"), base_ + "/x",
        std::string("a/b"), std::string(".hidden"), std::string("a b"), std::string("a\0b", 3),
        std::string("ä"), std::string(101, 'a'), std::string("a\nb")}) {
    EXPECT_EQ(save(folder, name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(folder.find(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(base_ + "/x"));
}

TEST_F(DocumentFolderTest, LinksAreNotFollowed) {
  const DocumentFolder folder(base_ + "/state");
  ASSERT_TRUE(folder.prepare().ok());
  std::ofstream(base_ + "/precious") << "mine";
  std::filesystem::create_symlink(base_ + "/precious", folder.path() + "/link");
  EXPECT_FALSE(folder.find("link").ok());
  EXPECT_TRUE(save(folder, "link").ok());  // takes the link's place
  EXPECT_EQ(*read_file(base_ + "/precious"), "mine");
  EXPECT_EQ(*read_file(*folder.find("link")), "new");
}

TEST_F(DocumentFolderTest, AFolderThatOthersMayWriteToIsRefused) {
  const std::string path = base_ + "/open";
  std::filesystem::create_directory(path);
  ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
  const auto refused = save(DocumentFolder(path), "a");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.status().message().find("--state-dir"), absl::string_view::npos);
  std::ofstream(base_ + "/file") << "x";
  EXPECT_FALSE(DocumentFolder(base_ + "/file").prepare().ok());
  EXPECT_FALSE(DocumentFolder("").prepare().ok());
  std::filesystem::create_directory(path + "/inside");
  EXPECT_FALSE(DocumentFolder(path + "/inside").prepare().ok()) << "others may replace it";
  std::filesystem::create_directory_symlink(base_, base_ + "/linked");
  EXPECT_FALSE(DocumentFolder(base_ + "/linked").prepare().ok());
}

TEST_F(DocumentFolderTest, WhatCannotBeWrittenLeavesNothing) {
  const DocumentFolder folder(base_ + "/state");
  EXPECT_FALSE(folder
                   .save("a",
                         [](const std::string& path) {
                           std::ofstream(path) << "half";
                           return absl::UnavailableError("the disk is full");
                         })
                   .ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace conclave::coordinator
