#include "cli/submit/ready_wait.h"

#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/submit/slurm_client.h"
#include "coordinator/http/client/http_client.h"

namespace conclave::cli {
namespace {

constexpr std::chrono::milliseconds kFilePeriod{200};
// squeue asks the controller, which serves the whole site.
constexpr int kLooksPerSqueue = 15;

std::string first_line(const std::string& path) {
  const absl::StatusOr<std::string> text = read_file(path, 1 << 16);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

bool answers_ready(const std::string& url) {
  const auto endpoint = coordinator::parse_http_endpoint(url);
  if (!endpoint.ok()) return false;
  coordinator::HttpClient::Options options;
  options.endpoint = *endpoint;
  options.timeout = std::chrono::seconds(10);
  return coordinator::HttpClient::create(options)->call("GET", "/ready").status == 200;
}

}  // namespace

absl::StatusOr<std::string> wait_until_ready(const std::string& service_folder,
                                             const std::string& job_id,
                                             std::chrono::seconds timeout) {
  const std::string folder = absl::StrCat(service_folder, "/job-", job_id);
  const Deadline deadline = Deadline::after(timeout);
  std::string told;
  for (int look = 0; !deadline.expired(); ++look) {
    const std::string url = first_line(folder + "/ready");
    if (!url.empty() && first_line(service_folder + "/endpoint") == url && answers_ready(url))
      return url;
    if (look % kLooksPerSqueue == 0) {
      // A controller that does not answer for a moment is no reason to give up.
      const auto state = job_state(job_id);
      if (absl::IsNotFound(state.status())) return state.status();
      if (state.ok() && (!state->has_value() || is_final((*state)->state))) {
        const std::string reason = first_line(folder + "/reason");
        return absl::UnavailableError(absl::StrCat(
            "job ", job_id, " ended (", state->has_value() ? (*state)->state : "gone", ")",
            reason.empty() ? absl::StrCat("; see ", service_folder, "/slurm-", job_id, ".log")
                           : absl::StrCat(": ", reason)));
      }
      const std::string now = state.ok()
                                  ? absl::StrCat((*state)->state, " (", (*state)->reason, ")")
                                  : std::string(state.status().message());
      if (now != told) std::fprintf(stderr, "conclave: job %s: %s\n", job_id.c_str(), now.c_str());
      told = now;
    }
    std::this_thread::sleep_for(kFilePeriod);
  }
  return absl::DeadlineExceededError(
      absl::StrCat("job ", job_id, " is not ready after ", timeout.count(), " s (", told,
                   "); it goes on, see ", service_folder, "/slurm-", job_id, ".log"));
}

}  // namespace conclave::cli
