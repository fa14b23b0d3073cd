#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/tables.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

std::string latency_text(const Json& quantiles) {
  return absl::StrCat("p50 ", format_seconds(number_of(quantiles, "p50")), " p99 ",
                      format_seconds(number_of(quantiles, "p99")));
}

std::string checks_text(const Json& checks) {
  std::string text;
  for (const Json& code : checks) absl::StrAppend(&text, text.empty() ? "  " : ", ", text_of(code));
  return text;
}

std::string status_screen(const Json& status) {
  const Json& group = status["group"];
  const Json& recent = status["recent"];
  const std::string health = text_of(status["health"]);
  std::string out = absl::StrCat("health     ", coloured(health, colour_of_health(health)), checks_text(status["checks"]), "\n");
  absl::StrAppend(&out, "model      ", text_of(status["model"]), "  (conclave ", text_of(status["software"]), ", up ",
                  format_seconds(number_of(status, "uptime_seconds")), ")\n");
  absl::StrAppend(&out, "group      ", text_of(group["state"]), ", ", text_of(status["ranks"]["up"]), " of ",
                  text_of(status["ranks"]["total"]), " ranks up, ", text_of(group["kernel_set"]), ", ", text_of(group["compute"]),
                  ", ", text_of(group["transport"]), "\n");
  absl::StrAppend(&out, "           placement epoch ", text_of(group["placement_epoch"]), ", ", text_of(group["restarts"]), " restarts\n");
  if (!group["last_failure"].empty() && group["last_failure"] != "")
    absl::StrAppend(&out, "           last failure: ", text_of(group["last_failure"]), "\n");
  absl::StrAppend(&out, "admission  ", status["admission"]["open"] == true ? "open" : "closed: ", text_of(status["admission"]["reason"]), "\n");
  absl::StrAppend(&out, "requests   ", text_of(status["requests"]["running"]), " running, ", text_of(status["requests"]["waiting"]), " waiting\n");
  const double blocks = number_of(status["kv_blocks"], "total");
  const double used = number_of(status["kv_blocks"], "used");
  absl::StrAppend(&out, "kv cache   ", absl::StrFormat("%.0f of %.0f blocks (%.1f %%)", used, blocks, blocks > 0 ? 100 * used / blocks : 0), "\n");
  absl::StrAppend(&out, "last ", text_of(recent["seconds"]), " s  ",
                  absl::StrFormat("%.1f tokens/s out, %.1f in", number_of(recent, "generated_tokens_per_second"),
                                  number_of(recent, "prompt_tokens_per_second")), "\n");
  absl::StrAppend(&out, "           first token ", latency_text(recent["time_to_first_token_seconds"]), ", next token ",
                  latency_text(recent["inter_token_latency_seconds"]), "\n");
  return out;
}

absl::Status show_status(Session& session) {
  ASSIGN_OR_RETURN(const Json status, session.get("/admin/v1/status"));
  if (session.wants_data()) {
    print_data(session, status);
  } else {
    std::fputs(status_screen(status).c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status show_health(Session& session, bool detail) {
  ASSIGN_OR_RETURN(const Json health, session.get("/admin/v1/health"));
  const std::string word = text_of(health["health"]);
  if (session.wants_data()) {
    print_data(session, health);
  } else {
    std::printf("%s\n", coloured(word, colour_of_health(word)).c_str());
    for (const Json& check : health["checks"]) {
      const std::string severity = text_of(check["severity"]);
      std::printf("%s %s: %s\n", coloured(severity, colour_of_health(severity)).c_str(), text_of(check["code"]).c_str(),
                  text_of(check["summary"]).c_str());
      if (!detail) continue;
      for (const Json& line : check["details"]) std::printf("    %s\n", text_of(line).c_str());
      std::printf("    do: %s\n", text_of(check["advice"]).c_str());
    }
  }
  if (word == "OK") return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the cluster's health is ", word));
}

// Keys without Enter while it lives; does nothing where stdin is no terminal.
class RawKeyboard {
 public:
  RawKeyboard() : terminal_(::isatty(STDIN_FILENO) == 1) {
    if (!terminal_ || ::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);  // ^C is a key as well: the screen must be put back
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~RawKeyboard() {
    if (terminal_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  // True if somebody pressed q, Escape or ^C within the time.
  bool quit_within(double seconds) const {
    if (!terminal_) {
      ::usleep(static_cast<useconds_t>(seconds * 1e6));
      return false;
    }
    pollfd entry{STDIN_FILENO, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
    char key = 0;
    return ::read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q' || key == 27 || key == 3;
  }

 private:
  bool terminal_;
  termios before_{};
};

int terminal_rows() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 40;
}

absl::StatusOr<std::string> top_frame(Session& session) {
  ASSIGN_OR_RETURN(const Json status, session.get("/admin/v1/status"));
  ASSIGN_OR_RETURN(const Json ranks, session.get("/admin/v1/ranks"));
  std::string out = status_screen(status) + "\n" + ranks_table(ranks, session.wide()) + "\n";
  const auto requests = session.get("/admin/v1/requests");
  if (requests.ok()) out += requests_table(*requests, session.wide());
  return out;
}

// Redraws in place on a terminal, appends elsewhere.
absl::Status top(Session& session, double interval, int64_t iterations) {
  const bool screen = ::isatty(STDOUT_FILENO) == 1;
  const RawKeyboard keyboard;
  if (screen) std::fputs("\x1b[?1049h\x1b[?25l", stdout);
  absl::Status status;
  for (int64_t i = 0; iterations == 0 || i < iterations; ++i) {
    const auto frame = top_frame(session);
    if (!frame.ok()) {
      status = frame.status();
      break;
    }
    if (screen) {
      std::fputs(("\x1b[H\x1b[2J" + first_lines(*frame, terminal_rows() - 2) + "\n" + coloured("q quits", Colour::kDim)).c_str(), stdout);
    } else {
      std::fputs((*frame + "\n").c_str(), stdout);
    }
    std::fflush(stdout);
    if (iterations != 0 && i + 1 == iterations) break;
    if (keyboard.quit_within(interval)) break;
  }
  if (screen) std::fputs("\x1b[?25h\x1b[?1049l", stdout);
  return status;
}

}  // namespace

void add_status_verbs(CLI::App& app, Action* action) {
  CLI::App* status = app.add_subcommand("status", "The cluster on one screen");
  status->callback([action] { *action = show_status; });

  CLI::App* health = app.add_subcommand("health", "OK, WARN or ERROR with the codes of what is wrong; exit code 8 unless OK");
  auto detail = std::make_shared<std::string>();
  health->add_option("detail", *detail, "\"detail\": say whom it concerns and what to do")->check(CLI::IsMember({"detail"}));
  health->callback([action, detail] {
    *action = [detail](Session& session) { return show_health(session, !detail->empty()); };
  });

  struct TopOptions {
    double interval = 1;
    int64_t iterations = 0;
  };
  auto o = std::make_shared<TopOptions>();
  CLI::App* top_verb = app.add_subcommand("top", "Status, ranks and requests, redrawn until q is pressed");
  top_verb->add_option("--interval", o->interval, "seconds between two pictures")->check(CLI::Range(0.1, 3600.0));
  top_verb->add_option("--iterations", o->iterations, "end after so many; 0: never")->check(CLI::Range(0, 1 << 30));
  top_verb->callback([action, o] {
    *action = [o](Session& session) { return top(session, o->interval, o->iterations); };
  });
}

}  // namespace conclave::ctl
