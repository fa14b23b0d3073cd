#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/tables.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

absl::Status show(const Session& session, const Json& document) {
  if (session.wants_data()) {
    print_data(session, document);
  } else {
    std::fputs(description(document).c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status stop_trace(Session& session, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string trace, session.text("POST", "/admin/v1/trace/stop", "{}"));
  const Json json = Json::parse(trace, nullptr, false);
  if (!json.is_object() || !json.contains("traceEvents")) return absl::UnimplementedError("the server's answer is no trace");
  if (path.empty() || path == "-") {
    std::fwrite(trace.data(), 1, trace.size(), stdout);
    std::fputc('\n', stdout);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(save_file(session, path, trace));
  std::fprintf(stderr, "%zu events; open the file at https://ui.perfetto.dev or chrome://tracing\n", json["traceEvents"].size());
  return absl::OkStatus();
}

void add_trace(CLI::App& app, Action* action) {
  CLI::App* trace = app.add_subcommand("trace", "What every rank does in a few steps, for Perfetto: start, status, stop");
  trace->require_subcommand(1);
  auto steps = std::make_shared<int32_t>(8);
  CLI::App* start = trace->add_subcommand("start", "Trace the next steps");
  start->add_option("--steps", *steps, "how many")->check(CLI::Range(1, 200));
  start->callback([action, steps] {
    *action = [steps](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/trace/start", {{"steps", *steps}}));
      return show(session, answer);
    };
  });
  trace->add_subcommand("status", "How many steps are traced already")->callback([action] {
    *action = [](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json answer, session.get("/admin/v1/trace"));
      return show(session, answer);
    };
  });
  auto path = std::make_shared<std::string>();
  CLI::App* stop = trace->add_subcommand("stop", "End the trace and fetch it (Chrome trace event JSON)");
  stop->add_option("--write", *path, "file; default: stdout");
  stop->callback([action, path] {
    *action = [path](Session& session) { return stop_trace(session, *path); };
  });
}

void print_rank_lines(const Json& ranks) {
  for (const Json& log : ranks) {
    const std::string who = number_of(log, "rank", -1) < 0 ? "launcher" : "rank " + text_of(log["rank"]);
    for (const Json& line : log["lines"]) std::printf("%s: %s\n", who.c_str(), text_of(line).c_str());
  }
}

}  // namespace

void add_trace_verbs(CLI::App& app, Action* action) {
  add_trace(app, action);
  auto level = std::make_shared<std::string>();
  CLI::App* log_level = app.add_subcommand("log-level", "Change the log level of coordinator and ranks at run time");
  log_level->add_option("level", *level, "debug, info, warning or error")
      ->required()->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  log_level->callback([action, level] {
    *action = [level](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/log-level", {{"level", *level}}));
      return show(session, answer);
    };
  });
  auto ranks = std::make_shared<bool>(false);
  CLI::App* logs = app.add_subcommand("logs", "The last lines that the coordinator logged, or with --ranks the ranks");
  logs->add_flag("--ranks", *ranks, "what ranks and the program that starts them wrote, by rank");
  logs->callback([action, ranks] {
    *action = [ranks](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json answer, session.get("/admin/v1/logs"));
      if (session.wants_data()) return show(session, answer);
      if (*ranks) {
        print_rank_lines(answer["ranks"]);
      } else {
        for (const Json& line : answer["lines"]) std::printf("%s\n", text_of(line).c_str());
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace conclave::ctl
