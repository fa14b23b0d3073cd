#include "bench/load_generator.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"

namespace conclave::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point a, Clock::time_point b) { return std::chrono::duration<double>(b - a).count(); }

std::string request_body(const LoadOptions& o, std::mt19937_64& random) {
  nlohmann::json prompt = nlohmann::json::array();
  for (int32_t i = 0; i < o.prompt_tokens; ++i) prompt.push_back(random() % static_cast<uint64_t>(o.max_token_id));
  return nlohmann::json{{"model", o.model},
                        {"prompt", prompt},
                        {"max_tokens", o.output_tokens},
                        {"temperature", 0},
                        {"ignore_eos", true},
                        {"stream", true},
                        {"stream_options", {{"include_usage", true}}}}
      .dump();
}

// What one stream has shown so far; touched by the client's I/O thread alone until it is done.
struct Stream {
  RequestRecord record;
  Clock::time_point sent, last;
  bool saw_done = false;

  void on_event(std::string_view data) {
    if (data == "[DONE]") {
      saw_done = true;
      return;
    }
    if (data.find("\"choices\":[]") != std::string_view::npos) {
      const auto json = nlohmann::json::parse(data, nullptr, false);
      if (json.is_object() && json.contains("usage") && json["usage"].is_object()) {
        record.prompt_tokens = json["usage"].value("prompt_tokens", 0);
        record.output_tokens = json["usage"].value("completion_tokens", 0);
      }
      return;
    }
    const auto now = Clock::now();
    if (record.ttft_seconds == 0) {
      record.ttft_seconds = seconds_between(sent, now);
    } else {
      record.gaps_seconds.push_back(static_cast<float>(seconds_between(last, now)));
    }
    last = now;
  }
  void on_done(const coordinator::HttpAnswer& answer) {
    record.status = answer.status;
    record.e2e_seconds = seconds_between(sent, Clock::now());
    record.ok = answer.status == 200 && answer.error.ok() && saw_done && record.output_tokens > 0;
  }
};

class Run {
 public:
  Run(coordinator::HttpClient& client, const LoadOptions& options) : client_(client), o_(options), random_(options.seed) {}

  LoadResult execute() {
    streams_.resize(static_cast<size_t>(o_.requests));
    const auto start = Clock::now();
    if (o_.rate > 0) {
      open_loop(start);
    } else {
      for (int32_t i = 0; i < std::min(o_.concurrency, o_.requests); ++i) send_next();
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ == o_.requests; });
    LoadResult result;
    result.seconds = seconds_between(start, Clock::now());
    for (Stream& stream : streams_) result.requests.push_back(std::move(stream.record));
    return result;
  }

 private:
  void open_loop(Clock::time_point start) {
    std::exponential_distribution<double> gap(o_.rate);
    auto when = start;
    for (int32_t i = 0; i < o_.requests; ++i) {
      std::this_thread::sleep_until(when);
      send_next();
      when += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(gap(random_)));
    }
  }

  void send_next() {
    Stream* stream = nullptr;
    std::string body;
    {
      std::lock_guard lock(mutex_);
      if (next_ == o_.requests) return;
      stream = &streams_[static_cast<size_t>(next_++)];
      body = request_body(o_, random_);
    }
    stream->sent = stream->last = Clock::now();
    client_.send("POST", "/v1/completions", std::move(body), [stream](std::string_view data) { stream->on_event(data); },
                 [this, stream](coordinator::HttpAnswer answer) {
                   stream->on_done(answer);
                   if (o_.rate <= 0) send_next();
                   std::lock_guard lock(mutex_);
                   ++done_;
                   changed_.notify_all();
                 });
  }

  coordinator::HttpClient& client_;
  const LoadOptions& o_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::mt19937_64 random_;
  std::vector<Stream> streams_;
  int32_t next_ = 0;
  int32_t done_ = 0;
};

}  // namespace

absl::StatusOr<LoadResult> run_load(coordinator::HttpClient& client, const LoadOptions& options) {
  LoadResult result = Run(client, options).execute();
  const auto good = [](const RequestRecord& r) { return r.ok; };
  if (std::none_of(result.requests.begin(), result.requests.end(), good)) {
    return absl::UnavailableError(absl::StrCat("none of ", options.requests, " requests succeeded (last HTTP status ",
                                               result.requests.empty() ? 0 : result.requests.back().status, ")"));
  }
  return result;
}

Distribution distribution(std::vector<double> values) {
  Distribution d;
  if (values.empty()) return d;
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) { return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)]; };
  for (double v : values) d.mean += v / static_cast<double>(values.size());
  d.p50 = at(0.5);
  d.p90 = at(0.9);
  d.p95 = at(0.95);
  d.p99 = at(0.99);
  d.max = values.back();
  return d;
}

LoadSummary summarize(const LoadResult& result) {
  LoadSummary s;
  std::vector<double> ttft, tpot, itl, e2e;
  for (const RequestRecord& r : result.requests) {
    if (!r.ok) {
      ++s.failed;
      continue;
    }
    ++s.succeeded;
    s.prompt_tokens += r.prompt_tokens;
    s.output_tokens += r.output_tokens;
    ttft.push_back(1e3 * r.ttft_seconds);
    e2e.push_back(1e3 * r.e2e_seconds);
    if (r.output_tokens > 1) tpot.push_back(1e3 * (r.e2e_seconds - r.ttft_seconds) / (r.output_tokens - 1));
    for (float gap : r.gaps_seconds) itl.push_back(1e3 * static_cast<double>(gap));
  }
  s.seconds = result.seconds;
  s.requests_per_second = s.succeeded / result.seconds;
  s.output_tokens_per_second = static_cast<double>(s.output_tokens) / result.seconds;
  s.total_tokens_per_second = static_cast<double>(s.output_tokens + s.prompt_tokens) / result.seconds;
  s.ttft_ms = distribution(std::move(ttft));
  s.tpot_ms = distribution(std::move(tpot));
  s.itl_ms = distribution(std::move(itl));
  s.e2e_ms = distribution(std::move(e2e));
  return s;
}

}  // namespace conclave::bench
