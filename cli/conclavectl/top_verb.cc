#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include "base/status_macros.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/tables.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

struct TopOptions {
  double interval = 1;
  int64_t count = 0;
};

void sleep_for(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

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
      sleep_for(seconds);
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

// The terminal's other screen while it lives; nothing where stdout is no terminal.
class OtherScreen {
 public:
  OtherScreen() : terminal_(::isatty(STDOUT_FILENO) == 1) {
    if (terminal_) std::fputs("\x1b[?1049h\x1b[?25l", stdout);
  }
  ~OtherScreen() {
    if (!terminal_) return;
    std::fputs("\x1b[?25h\x1b[?1049l", stdout);
    std::fflush(stdout);  // what is said on stderr next shall be seen
  }
  void show(const std::string& picture) const {
    if (terminal_) {
      std::fputs(("\x1b[H\x1b[2J" + first_lines(picture, rows() - 2) + "\n" + coloured("q quits", Colour::kDim)).c_str(), stdout);
    } else {
      std::fputs((picture + "\n").c_str(), stdout);
    }
  }

 private:
  static int rows() {
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 40;
  }
  bool terminal_;
};

// {"version":1,"kind":"top","status":…,"ranks":…,"requests":…}: three documents of one moment. An
// engine that is too busy to list its requests leaves null there.
absl::StatusOr<Json> look(Session& session) {
  Json out = {{"version", 1}, {"kind", "top"}};
  ASSIGN_OR_RETURN(out["status"], session.get("/admin/v1/status"));
  ASSIGN_OR_RETURN(out["ranks"], session.get("/admin/v1/ranks"));
  auto requests = session.get("/admin/v1/requests");
  out["requests"] = requests.ok() ? *std::move(requests) : Json();
  return out;
}

std::string picture_of(const Json& top, bool wide) {
  const std::string head = status_screen(top["status"]) + "\n" + ranks_table(top["ranks"], wide) + "\n";
  return top["requests"].is_null() ? head : head + requests_table(top["requests"], wide);
}

// A document a line in JSON, a document after each "---" in YAML: both can be read while they come.
std::string record_of(const Json& top, bool yaml) {
  return yaml ? "---\n" + to_yaml(top) : top.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Calls show(document) now and after each interval until it, wait() or the count says enough.
template <typename Show, typename Wait>
absl::Status repeat(Session& session, const TopOptions& o, const Show& show, const Wait& wait) {
  for (int64_t i = 1;; ++i) {
    ASSIGN_OR_RETURN(const Json document, look(session));
    show(document);
    // Whoever read it has gone (SIGPIPE is ignored): `conclavectl top | head` ends.
    if (std::fflush(stdout) != 0 || i == o.count || wait(o.interval)) return absl::OkStatus();
  }
}

absl::Status top(Session& session, const TopOptions& o) {
  if (session.wants_data()) {
    const bool yaml = session.options().output == "yaml";
    return repeat(
        session, o, [yaml](const Json& document) { std::fputs(record_of(document, yaml).c_str(), stdout); },
        [](double seconds) {
          sleep_for(seconds);
          return false;
        });
  }
  const RawKeyboard keyboard;
  const OtherScreen screen;
  return repeat(
      session, o, [&](const Json& document) { screen.show(picture_of(document, session.wide())); },
      [&keyboard](double seconds) { return keyboard.quit_within(seconds); });
}

}  // namespace

void add_top_verb(CLI::App& app, Action* action) {
  auto o = std::make_shared<TopOptions>();
  CLI::App* verb = app.add_subcommand("top", "Status, ranks and requests, redrawn until q is pressed; with -o json one document a line");
  verb->add_option("--interval", o->interval, "seconds between two pictures")->check(CLI::Range(0.1, 3600.0));
  verb->add_option("--count,--iterations", o->count, "end after so many; 0: never")->check(CLI::Range(0, 1 << 30));
  verb->callback([action, o] {
    *action = [o](Session& session) { return top(session, *o); };
  });
}

}  // namespace conclave::ctl
