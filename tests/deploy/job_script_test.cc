#include "cli/submit/job_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <random>

#include "cli/submit/slurm_client.h"

namespace conclave::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

JobOptions demo() {
  JobOptions o;
  o.model = "/models/demo";
  o.folder = "/srv/demo";
  o.nodes = 2;
  o.ranks_per_node = 4;
  return o;
}

std::string render(const JobOptions& o) {
  auto script = render_job_script(job_template(), o, "/opt/bin/conclave");
  EXPECT_TRUE(script.ok()) << script.status();
  return script.ok() ? *script : "";
}

// What bash makes of a text.
std::string bash(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      ::popen(("bash -c " + shell_quote(command)).c_str(), "r"), ::pclose);
  std::string out;
  for (int c = 0; (c = std::fgetc(pipe.get())) != EOF;) out.push_back(static_cast<char>(c));
  return out;
}

TEST(JobScript, AsksSlurmForWhatWasAsked) {
  JobOptions o = demo();
  o.gpus_per_node = 2;
  o.cpus_per_rank = 8;
  o.time = "1-00:00:00";
  o.partition = "gpu";
  o.account = "phys";
  o.lead_s = 120;
  o.sbatch_options = {"--mem=0"};
  const std::string script = render(o);
  for (const char* line :
       {"#SBATCH --nodes=2\n", "#SBATCH --ntasks-per-node=4\n", "#SBATCH --cpus-per-task=8\n",
        "#SBATCH --gres=gpu:2\n", "#SBATCH --time=1-00:00:00\n", "#SBATCH --partition=gpu\n",
        "#SBATCH --account=phys\n", "#SBATCH --signal=B:USR1@120\n", "#SBATCH --requeue\n",
        "#SBATCH --mem=0\n", "ranks = 8\n", "threads = 8\n",
        "--ntasks-per-node=4 --cpus-per-task=8 --gres=gpu:2"}) {
    EXPECT_THAT(script, HasSubstr(line));
  }
  EXPECT_THAT(script, HasSubstr("\n#SBATCH"));
  EXPECT_EQ(script.rfind("#!/bin/bash\n", 0), 0u);
}

TEST(JobScript, LeavesOutWhatWasNotAsked) {
  const std::string script = render(demo());
  for (const char* text :
       {"--time=", "--partition=", "--account=", "--gres=gpu", "--cpus-per-task", "@sbatch@"}) {
    EXPECT_THAT(script, Not(HasSubstr(text)));
  }
}

TEST(JobScript, EqualOptionsGiveEqualBytes) { EXPECT_EQ(render(demo()), render(demo())); }

TEST(JobScript, DrainEndsBeforeTheJobDoes) {
  for (const int lead : {1, 2, 10, 300, 3600}) {
    JobOptions o = demo();
    o.lead_s = lead;
    const std::string script = render(o);
    const std::string key = "drain-timeout-s = ";
    const int timeout = std::stoi(script.substr(script.find(key) + key.size()));
    EXPECT_GE(timeout, 1);
    EXPECT_LE(timeout, lead);
  }
}

TEST(JobScript, QuotesWhatBashWouldRead) {
  std::mt19937 random(7);
  const std::string alphabet = "ab \"'`$(){}[]\\!*?~#&;|<>@%=-";
  for (int i = 0; i < 60; ++i) {
    std::string text;
    for (unsigned n = random() % 12; n > 0; --n)
      text.push_back(alphabet[random() % alphabet.size()]);
    EXPECT_EQ(bash("printf %s " + shell_quote(text)), text);
  }
}

TEST(JobScript, CarriesFlagsOfTheCoordinatorUnchanged) {
  JobOptions o = demo();
  o.coordinator_flags = {"--served-model-name", "it's $(rm) `x` \"y\""};
  const std::string script = render(o);
  const size_t begin = script.find("coordinator_flags=(");
  const std::string line = script.substr(begin, script.find('\n', begin) - begin);
  EXPECT_EQ(bash(line + "; printf '%s|' \"${coordinator_flags[@]}\""),
            "--served-model-name|it's $(rm) `x` \"y\"|");
}

TEST(JobScript, RefusesWhatNoScriptCanCarry) {
  const auto error_of = [](auto change) {
    JobOptions o = demo();
    change(&o);
    const auto script = render_job_script(job_template(), o, "/opt/bin/conclave");
    EXPECT_FALSE(script.ok());
    return std::string(script.status().message());
  };
  EXPECT_THAT(error_of([](JobOptions* o) { o->nodes = 0; }), HasSubstr("--nodes is 0"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->name = "a b"; }), HasSubstr("--name"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->name = "../x"; }), HasSubstr("--name"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->partition = "x\n#SBATCH --uid=0"; }),
              HasSubstr("--partition"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->folder = "/srv/my service"; }),
              HasSubstr("--folder"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->model = "a\nb"; }), HasSubstr("--model"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->sbatch_options = {"mem"}; }),
              HasSubstr("--sbatch-option"));
  EXPECT_THAT(error_of([](JobOptions* o) { o->chain = true, o->port = 8000; }),
              HasSubstr("--chain"));
}

TEST(JobScript, ChecksTheTemplate) {
  const auto unknown = render_job_script("#@sbatch@\n@nonsense@", demo(), "/p");
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("@nonsense@"));
  const auto lacking = render_job_script("#@sbatch@\n", demo(), "/p");
  EXPECT_THAT(std::string(lacking.status().message()), HasSubstr("lacks @"));
}

TEST(SlurmClient, ACommandThatDoesNotEndIsStoppedAndNamed) {
  const auto result = run_command({"sh", "-c", "echo waiting for the controller; sleep 60"},
                                  std::chrono::milliseconds(300));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(result.status().message()),
              testing::AllOf(testing::HasSubstr("sh has not answered for 0.3 s"),
                             testing::HasSubstr("waiting for the controller")));
}

TEST(SlurmClient, ACommandsWordsAndExitCodeComeBack) {
  const auto result = run_command({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->output, "out\nerr\n");
}

}  // namespace
}  // namespace conclave::cli
