// The library's HTTP client (not the tests' own) and the time that it may take.

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>

#include "coordinator/http/client/http_client.h"

namespace conclave::coordinator {
namespace {

HttpClient::Options options_of(HostResolver resolver, std::chrono::milliseconds timeout) {
  HttpClient::Options options;
  options.endpoint = *parse_http_endpoint("http://a-name.invalid:9");
  options.resolver = std::move(resolver);
  options.timeout = timeout;
  return options;
}

TEST(HttpClientDeadline, ANameServerThatHangsHoldsNobody) {
  auto answered = std::make_shared<std::promise<void>>();
  auto left = std::make_shared<std::promise<void>>();
  std::future<void> done = left->get_future();
  const auto hang = [release = answered->get_future().share(), left](const std::string&) -> absl::StatusOr<std::string> {
    release.wait();
    left->set_value();
    return std::string("127.0.0.1");
  };
  {
    const auto client = HttpClient::create(options_of(hang, std::chrono::milliseconds(20)));
    const HttpAnswer answer = client->call("GET", "/health");
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.error.code(), absl::StatusCode::kDeadlineExceeded) << answer.error;
  }  // ends although the look-up still hangs
  answered->set_value();
  EXPECT_EQ(done.wait_for(std::chrono::seconds(30)), std::future_status::ready) << "its late answer hurts nobody";
}

TEST(HttpClientDeadline, WhatTheResolverSaysIsTried) {
  const auto unknown = [](const std::string& host) -> absl::StatusOr<std::string> {
    return absl::InvalidArgumentError(host + ": no such host");
  };
  const auto gone = HttpClient::create(options_of(unknown, std::chrono::seconds(60)))->call("GET", "/");
  EXPECT_EQ(gone.error.code(), absl::StatusCode::kInvalidArgument) << gone.error;
  EXPECT_NE(std::string(gone.error.message()).find("a-name.invalid"), std::string::npos);
  const auto here = [](const std::string&) -> absl::StatusOr<std::string> { return std::string("127.0.0.1"); };
  const auto refused = HttpClient::create(options_of(here, std::chrono::seconds(60)))->call("GET", "/");
  EXPECT_EQ(refused.error.code(), absl::StatusCode::kUnavailable) << refused.error;
}

TEST(HttpClientDeadline, TheSystemKnowsThisMachine) {
  const auto address = resolve_host("127.0.0.1");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(*address, "127.0.0.1");
}

}  // namespace
}  // namespace conclave::coordinator
