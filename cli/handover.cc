#include "cli/handover.h"

#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"

namespace conclave::cli {

bool answers_ready(const coordinator::HttpEndpoint& endpoint) {
  coordinator::HttpClient::Options options;
  options.endpoint = endpoint;
  options.timeout = std::chrono::seconds(2);
  return coordinator::HttpClient::create(options)->call("GET", "/ready").status == 200;
}

std::optional<coordinator::HttpEndpoint> SuccessorFile::poll() {
  if (path_.empty()) return std::nullopt;
  const absl::StatusOr<std::string> text = read_file(path_, 4096);
  if (!text.ok()) return std::nullopt;
  const std::string url = text->substr(0, text->find('\n'));
  const auto endpoint = coordinator::parse_http_endpoint(url);
  if (!endpoint.ok()) {
    if (refused_ != url)
      log_warning("the successor file names no cluster",
                  {{"file", path_}, {"why", std::string(endpoint.status().message())}});
    refused_ = url;
    return std::nullopt;
  }
  const int64_t now = SteadyClock::now().time_since_epoch().count();
  if (now < next_ask_ns_) return std::nullopt;
  next_ask_ns_ = now + 500'000'000;
  if (!answers_ready(*endpoint)) return std::nullopt;
  return *endpoint;
}

}  // namespace conclave::cli
