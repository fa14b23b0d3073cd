#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/deadline.h"
#include "base/status_macros.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPollPeriod{200};
constexpr size_t kNamedFailures = 5;

struct DrainOptions {
  std::string reason;
  std::string deadline = "10m";
  bool wait = true;
  bool cancel_open = false;
};

void say(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

absl::Status show_admission(const Session& session, const Json& admission) {
  if (session.wants_data()) {
    print_data(session, admission);
  } else if (admission["open"] == true) {
    std::printf("open: new requests are taken\n");
  } else {
    std::printf("closed (%s): %s requests open\n", text_of(admission["reason"]).c_str(), text_of(admission["requests_open"]).c_str());
  }
  return absl::OkStatus();
}

Deadline deadline_after(double seconds) { return Deadline::after(milliseconds(static_cast<int64_t>(seconds * 1000))); }

// What became of requests between two looks; failures by name as far as the server keeps them.
Json ended_between(const Json& before, const Json& after) {
  Json out = Json::object();
  for (const char* name : {"finished", "cancelled", "failed"}) {
    out[name] = static_cast<int64_t>(number_of(after["ended"], name) - number_of(before["ended"], name));
  }
  out["failed_requests"] = Json::array();
  const double seen = number_of(before["ended"], "failed");
  for (const Json& failed : after["ended"]["last_failed"]) {
    if (number_of(failed, "number") > seen) out["failed_requests"].push_back({{"request_id", failed["request_id"]}, {"why", failed["why"]}});
  }
  return out;
}

std::string ended_text(const Json& ended) {
  std::string text = absl::StrCat("while draining ", text_of(ended["finished"]), " requests finished, ", text_of(ended["failed"]), " failed");
  if (ended["cancelled"] != 0) absl::StrAppend(&text, ", ", text_of(ended["cancelled"]), " were cancelled");
  for (size_t i = 0; i < std::min(kNamedFailures, ended["failed_requests"].size()); ++i) {
    const Json& failed = ended["failed_requests"][i];
    absl::StrAppend(&text, "\nfailed: ", text_of(failed["request_id"]), ": ", text_of(failed["why"]));
  }
  return text;
}

// Says on stderr how many are left whenever that changes; the last answer, drained or not.
absl::StatusOr<Json> watch_drain(Session& session, const Deadline& deadline) {
  int64_t last = -1;
  for (;;) {
    ASSIGN_OR_RETURN(Json admission, session.get("/admin/v1/admission"));
    if (admission["open"] == true) {
      return absl::FailedPreconditionError("somebody opened the cluster again while it drained");
    }
    const auto open = static_cast<int64_t>(number_of(admission, "requests_open"));
    if (open != last) say(absl::StrCat("draining: ", open, " requests open"));
    last = open;
    if (admission["drained"] == true || deadline.expired()) return admission;
    std::this_thread::sleep_for(kPollPeriod);
  }
}

absl::Status cancel_all(Session& session) {
  ASSIGN_OR_RETURN(const Json requests, session.get("/admin/v1/requests"));
  for (const Json& request : requests["requests"]) {
    const auto gone = session.remove("/admin/v1/requests/" + text_of(request["id"]));
    if (!gone.ok() && !absl::IsNotFound(gone.status())) return gone.status();
  }
  return absl::OkStatus();
}

absl::Status drain(Session& session, const DrainOptions& o) {
  ASSIGN_OR_RETURN(const double seconds, parse_duration(o.deadline));
  ASSIGN_OR_RETURN(const Json before, session.post("/admin/v1/drain", {{"reason", o.reason}}));
  if (!o.wait) return show_admission(session, before);
  ASSIGN_OR_RETURN(Json admission, watch_drain(session, deadline_after(seconds)));
  if (admission["drained"] != true && o.cancel_open) {
    say("the deadline passed: cancelling what is open");
    RETURN_IF_ERROR(cancel_all(session));
    ASSIGN_OR_RETURN(admission, watch_drain(session, deadline_after(session.options().timeout_seconds)));
  }
  admission["while_draining"] = ended_between(before, admission);
  const Json& ended = admission["while_draining"];
  RETURN_IF_ERROR(show_admission(session, admission));
  if (!session.wants_data()) std::printf("%s\n", ended_text(ended).c_str());
  if (admission["drained"] == true && ended["failed"] == 0) return absl::OkStatus();
  if (admission["drained"] == true) {
    return absl::FailedPreconditionError(absl::StrCat("no request is open any more, but ", text_of(ended["failed"]), " failed while the cluster drained"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      text_of(admission["requests_open"]), " requests are still open after ", o.deadline,
      "; the cluster stays closed: wait on, `conclavectl undrain`, or drain with --cancel-open"));
}

absl::Status cancel(Session& session, const std::vector<std::string>& names) {
  Json out = {{"version", 1}, {"kind", "cancelled"}, {"cancelled", Json::array()}};
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const Json answer, session.remove("/admin/v1/requests/" + encode_path(name)));
    for (const Json& id : answer["cancelled"]) out["cancelled"].push_back(id);
  }
  if (session.wants_data()) {
    print_data(session, out);
  } else {
    for (const Json& id : out["cancelled"]) std::printf("%s\n", text_of(id).c_str());
  }
  return absl::OkStatus();
}

// Whether the cluster is as wished; nobody there yet counts as no.
absl::StatusOr<bool> holds(Session& session, const std::string& wish, Json* status) {
  auto answer = session.get(wish == "ready" ? "/admin/v1/status" : "/admin/v1/admission");
  if (absl::IsUnavailable(answer.status()) || absl::IsDeadlineExceeded(answer.status())) return false;
  RETURN_IF_ERROR(answer.status());
  *status = std::move(*answer);
  if (wish == "drained") return (*status)["drained"] == true;
  return (*status)["group"]["state"] == "ready" && (*status)["admission"]["open"] == true;
}

absl::Status wait_for(Session& session, const std::string& wish, const std::string& limit) {
  ASSIGN_OR_RETURN(const double seconds, parse_duration(limit));
  const Deadline deadline = deadline_after(seconds);
  Json status;
  for (;;) {
    ASSIGN_OR_RETURN(const bool done, holds(session, wish, &status));
    if (done) break;
    if (deadline.expired()) return absl::FailedPreconditionError(absl::StrCat("the cluster is not ", wish, " after ", limit));
    std::this_thread::sleep_for(kPollPeriod);
  }
  if (session.wants_data()) {
    print_data(session, status);
  } else {
    std::printf("%s\n", wish.c_str());
  }
  return absl::OkStatus();
}

void add_cordon(CLI::App& app, Action* action) {
  auto reason = std::make_shared<std::string>();
  CLI::App* cordon = app.add_subcommand("cordon", "Refuse new requests from now on (503 with the reason); open ones go on");
  cordon->add_option("--reason", *reason, "what clients and colleagues are told")->required();
  cordon->callback([action, reason] {
    *action = [reason](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json admission, session.post("/admin/v1/cordon", {{"reason", *reason}}));
      return show_admission(session, admission);
    };
  });
}

void add_drain(CLI::App& app, Action* action) {
  auto o = std::make_shared<DrainOptions>();
  CLI::App* verb = app.add_subcommand("drain", "Refuse new requests and wait until the open ones are done; ^C ends the waiting, not the drain");
  verb->add_option("--reason", o->reason, "what clients and colleagues are told")->required();
  verb->add_option("--deadline", o->deadline, "how long to wait: 90s, 5m, 1h30m; then exit code 8");
  verb->add_flag("--wait,!--no-wait", o->wait, "wait, saying how many requests are open");
  verb->add_flag("--cancel-open", o->cancel_open, "at the deadline cancel what is still open");
  verb->callback([action, o] {
    *action = [o](Session& session) { return drain(session, *o); };
  });
}

}  // namespace

void add_admission_verbs(CLI::App& app, Action* action) {
  add_cordon(app, action);
  add_drain(app, action);
  for (const char* name : {"undrain", "uncordon"}) {
    app.add_subcommand(name, "Take new requests again")->callback([action] {
      *action = [](Session& session) -> absl::Status {
        ASSIGN_OR_RETURN(const Json admission, session.post("/admin/v1/undrain", Json::object()));
        return show_admission(session, admission);
      };
    });
  }
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* cancel_verb = app.add_subcommand("cancel", "End open requests; their clients get an error that says so");
  cancel_verb->add_option("request", *names, "request ids or numbers, as `get requests` shows them")->required();
  cancel_verb->callback([action, names] {
    *action = [names](Session& session) { return cancel(session, *names); };
  });

  struct WaitOptions {
    std::string wish = "ready";
    std::string limit = "5m";
  };
  auto o = std::make_shared<WaitOptions>();
  CLI::App* wait = app.add_subcommand("wait", "Wait until the cluster is as asked; exit code 8 if it is not in time");
  wait->add_option("--for", o->wish, "ready or drained")->check(CLI::IsMember({"ready", "drained"}));
  wait->add_option("--timeout", o->limit, "how long: 90s, 5m, 1h30m");
  wait->callback([action, o] {
    *action = [o](Session& session) { return wait_for(session, o->wish, o->limit); };
  });
}

}  // namespace conclave::ctl
