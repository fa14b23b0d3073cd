#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "cli/preflight/node_checks.h"
#include "cli/preflight/verdict.h"

namespace conclave::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::map<std::string, NodeReport> healthy(const std::vector<std::string>& nodes) {
  std::map<std::string, NodeReport> reports;
  for (const std::string& node : nodes)
    reports[node] = {node, {{"memory", true, "9 GiB of memory free"}}, {}};
  return reports;
}

std::string fault(const std::vector<std::string>& nodes,
                  const std::map<std::string, NodeReport>& reports) {
  const auto verdict = judge(nodes, reports);
  EXPECT_FALSE(verdict.ok());
  return std::string(verdict.status().message());
}

TEST(Verdict, PassesHealthyNodes) {
  const auto verdict = judge({"a", "b"}, healthy({"a", "b"}));
  ASSERT_TRUE(verdict.ok());
  EXPECT_THAT(*verdict, AllOf(HasSubstr("a (9 GiB"), HasSubstr("b (9 GiB")));
}

TEST(Verdict, NamesTheNodeWhoseCheckFailed) {
  auto reports = healthy({"a", "b", "c"});
  reports["b"].checks.push_back({"gpus", false, "shows 1 of 2 GPUs"});
  EXPECT_EQ(fault({"a", "b", "c"}, reports), "node b: shows 1 of 2 GPUs");
}

TEST(Verdict, NamesASilentNodeOnceAlthoughNobodyReachesIt) {
  auto reports = healthy({"a", "b"});
  reports["a"].unreachable = reports["b"].unreachable = {"c"};
  EXPECT_THAT(fault({"a", "b", "c"}, reports),
              AllOf(HasSubstr("node c gave no report"), Not(HasSubstr("reached"))));
}

TEST(Verdict, BlamesTheEndThatMostOthersMiss) {
  auto reports = healthy({"a", "b", "c", "d"});
  reports["a"].unreachable = reports["b"].unreachable = reports["d"].unreachable = {"c"};
  reports["c"].unreachable = {"a", "b", "d"};
  EXPECT_EQ(fault({"a", "b", "c", "d"}, reports), "node c cannot be reached from a, b, d");
}

TEST(Verdict, BlamesANodeThatReachesNobody) {
  auto reports = healthy({"a", "b", "c"});
  reports["b"].unreachable = {"a", "c"};
  EXPECT_EQ(fault({"a", "b", "c"}, reports), "node b cannot reach a, c");
}

TEST(NodeReport, SurvivesItsFile) {
  const NodeReport report{
      "n1", {{"gpus", false, "says \"no\"\n"}, {"model", true, "fine"}}, {"n2", "n3"}};
  const auto read = report_from_json(to_json(report));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(to_json(*read), to_json(report));
  for (const char* bad : {"", "[]", "{\"version\":1}",
                          "{\"version\":2,\"node\":\"a\",\"checks\":[],\"unreachable\":[]}"}) {
    EXPECT_FALSE(report_from_json(bad).ok()) << bad;
  }
}

TEST(NodeChecks, MemoryAndFiles) {
  EXPECT_TRUE(check_memory(1).ok);
  EXPECT_FALSE(check_memory(uint64_t{1} << 60).ok);
  const std::string demo = std::string(CONCLAVE_SOURCE_DIR) + "/assets/demo-moe";
  EXPECT_TRUE(check_model_files(demo, 0).ok);
  EXPECT_THAT(check_model_files(demo, 1e9).message, HasSubstr("below the"));
  EXPECT_THAT(check_model_files("/nonexistent", 0).message,
              HasSubstr("cannot see /nonexistent/config.json"));
}

class GpuCheck : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const char* name : {"FAKE_CUDA_INIT", "FAKE_CUDA_DEVICES", "FAKE_CUDA_DRIVER"})
      ::unsetenv(name);
  }
  const std::string fake_ = std::string(CONCLAVE_BINARY_DIR) + "/tests/fake_cuda.so";
  const GpuLibraries libraries_{fake_, fake_, fake_};
};

TEST_F(GpuCheck, AcceptsEnoughGpusAndANewDriver) {
  const CheckResult result = check_gpus({2}, libraries_);
  EXPECT_TRUE(result.ok) << result.message;
  EXPECT_THAT(result.message,
              AllOf(HasSubstr("2 GPUs"), HasSubstr("CUDA 13.0"), HasSubstr("NCCL 2.28.3")));
}

TEST_F(GpuCheck, SaysWhatIsMissing) {
  EXPECT_THAT(check_gpus({3}, libraries_).message, HasSubstr("shows 2 of 3 GPUs"));
  ::setenv("FAKE_CUDA_DRIVER", "12040", 1);
  EXPECT_THAT(check_gpus({2}, libraries_).message, HasSubstr("driver is for CUDA 12.4, NCCL 2.28.3"));
  ::setenv("FAKE_CUDA_INIT", "999", 1);
  EXPECT_THAT(check_gpus({2}, libraries_).message, HasSubstr("cuInit error 999"));
  EXPECT_THAT(check_gpus({2}, {"/nonexistent.so", fake_, fake_}).message,
              HasSubstr("no usable GPU driver"));
  ::unsetenv("FAKE_CUDA_INIT");
  ::unsetenv("FAKE_CUDA_DRIVER");
  EXPECT_THAT(check_gpus({2, true}, {fake_, fake_, "/nonexistent.so"}).message, HasSubstr("lacks NCCL"));
}

TEST_F(GpuCheck, AsksForNoLibraryThatIsNotNeeded) {
  const CheckResult result = check_gpus({2}, {fake_, "/nonexistent.so", "/nonexistent.so"});
  EXPECT_TRUE(result.ok) << result.message;
  EXPECT_THAT(result.message, HasSubstr("no NCCL"));
  ::setenv("FAKE_CUDA_DRIVER", "12040", 1);
  EXPECT_THAT(check_gpus({2}, {fake_, "/nonexistent.so", "/nonexistent.so"}).message,
              HasSubstr("kernels here are for CUDA 13.0"));
}

class Links : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "links-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  LinkOptions options(const std::string& node, int nodes) {
    return {folder_, node, "127.0.0.1", nodes, 1500};
  }
  std::string folder_;
};

TEST_F(Links, ThreeNodesReachOneAnother) {
  std::vector<CheckResult> results(3);
  std::vector<std::vector<std::string>> unreachable(3);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 3; ++i) {
    threads.emplace_back(
        [&, i] { results[i] = check_links(options("n" + std::to_string(i), 3), &unreachable[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(results[i].ok) << results[i].message;
    EXPECT_THAT(results[i].message, HasSubstr("to n" + std::to_string((i + 1) % 3)));
  }
}

TEST_F(Links, ADeadListenerIsNamed) {
  FILE* file = std::fopen((folder_ + "/gone.address").c_str(), "w");
  std::fputs("127.0.0.1 1\n", file);
  std::fclose(file);
  std::vector<std::string> unreachable;
  EXPECT_FALSE(check_links(options("here", 2), &unreachable).ok);
  EXPECT_THAT(unreachable, ::testing::ElementsAre("gone"));
}

}  // namespace
}  // namespace conclave::cli
