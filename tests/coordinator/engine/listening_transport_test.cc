// The engine over real TCP connections: joined by ranks that come by themselves, and launched.

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/file.h"
#include "comm/channel/tcp_channel.h"
#include "coordinator/engine/create_engine.h"
#include "fake_group.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

template <typename Condition>
bool eventually(Condition condition) {
  const Deadline deadline = Deadline::after_ms(30000);
  while (!condition()) {
    if (deadline.expired()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

std::vector<std::unique_ptr<comm::Channel>> connect_ranks(uint16_t port, const std::string& secret,
                                                          int32_t ranks) {
  std::vector<std::unique_ptr<comm::Channel>> channels;
  for (int32_t rank = 0; rank < ranks; ++rank) {
    auto channel = comm::connect_channel("127.0.0.1", port, secret, Deadline::after_ms(10000));
    EXPECT_TRUE(channel.ok()) << channel.status();
    if (channel.ok()) channels.push_back(*std::move(channel));
  }
  return channels;
}

EngineOptions options_for(int32_t ranks) {
  EngineOptions options;
  options.ranks = ranks;
  options.max_model_len = 128;
  options.heartbeat_timeout_ms = 20000;
  options.restart_backoff_ms = 1;
  return options;
}

class Ender : public GenerationListener {
 public:
  void on_token(GeneratedToken) override { ++tokens_; }
  void on_end(GenerationEnd end) override {
    const std::lock_guard lock(mutex_);
    end_ = std::move(end);
  }
  std::optional<GenerationEnd> end() const {
    const std::lock_guard lock(mutex_);
    return end_;
  }
  int tokens() const { return tokens_; }

 private:
  mutable std::mutex mutex_;
  std::atomic<int> tokens_{0};
  std::optional<GenerationEnd> end_;
};

void expect_answer(Engine& engine) {
  auto listener = std::make_shared<Ender>();
  GenerationRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 5;
  const auto id = engine.submit(request, listener);
  ASSERT_TRUE(id.ok()) << id.status();
  ASSERT_TRUE(eventually([&] { return listener->end().has_value(); }));
  EXPECT_EQ(listener->end()->reason, FinishReason::kLength) << listener->end()->error;
  EXPECT_EQ(listener->tokens(), 5);
}

TEST(ListeningTransport, RanksThatComeByThemselvesServeAndMayComeAgain) {
  ListenOptions listen;
  listen.secret = "the secret";
  listen.ranks = 2;
  auto transport = ListeningTransport::create(listen, nullptr);
  ASSERT_TRUE(transport.ok()) << transport.status();
  const uint16_t port = (*transport)->port();
  auto engine = create_engine(options_for(2), *std::move(transport));
  ASSERT_TRUE(engine.ok());

  const auto stranger =
      comm::connect_channel("127.0.0.1", port, "another secret", Deadline::after_ms(10000));
  EXPECT_EQ(stranger.status().code(), absl::StatusCode::kUnauthenticated) << stranger.status();

  for (int64_t round = 0; round < 3; ++round) {
    ASSERT_TRUE(eventually([&] { return (*engine)->status().state == GroupState::kStarting; }));
    FakeGroupOptions fake;
    fake.ranks = 2;
    FakeGroup group(fake, connect_ranks(port, listen.secret, 2));
    ASSERT_TRUE(eventually([&] { return (*engine)->status().state == GroupState::kReady; }));
    expect_answer(**engine);
    EXPECT_EQ((*engine)->status().restarts, round);
  }
}

TEST(ListeningTransport, RanksMayComeBeforeTheGroupStarts) {
  ListenOptions listen;
  listen.secret = "the secret";
  listen.ranks = 2;
  auto transport = ListeningTransport::create(listen, nullptr);
  ASSERT_TRUE(transport.ok()) << transport.status();
  FakeGroupOptions fake;
  fake.ranks = 2;
  FakeGroup group(fake, connect_ranks((*transport)->port(), listen.secret, 2));
  auto engine = create_engine(options_for(2), *std::move(transport));
  ASSERT_TRUE(engine.ok());
  ASSERT_TRUE(eventually([&] { return (*engine)->status().state == GroupState::kReady; }));
  expect_answer(**engine);
}

// Starts "processes" that are threads of this one, which connect as real ranks do.
class ThreadLauncher : public GroupLauncher {
 public:
  struct Log {
    std::mutex mutex;
    std::vector<LaunchSpec> specs;
    std::vector<unsigned> modes;
    int kills = 0;
    std::unique_ptr<FakeGroup> group;
  };
  ThreadLauncher(std::shared_ptr<Log> log, std::vector<int64_t> die_at_step)
      : log_(std::move(log)), die_at_step_(std::move(die_at_step)) {}

  absl::Status start(const LaunchSpec& spec) override {
    struct stat status {};
    EXPECT_EQ(::stat(spec.secret_file.c_str(), &status), 0);
    const auto secret = read_file(spec.secret_file);
    EXPECT_TRUE(secret.ok()) << secret.status();
    const std::lock_guard lock(log_->mutex);
    log_->modes.push_back(status.st_mode & 0777u);
    FakeGroupOptions fake;
    fake.ranks = spec.ranks;
    fake.die_at_step = die_at_step_[log_->specs.size()];
    log_->specs.push_back(spec);
    // Connects on a thread of its own, as a process would; the engine's thread must not wait for
    // it.
    starter_ = std::thread([this, spec, fake, secret = *secret] {
      auto channels = connect_ranks(spec.coordinator_port, secret, spec.ranks);
      const std::lock_guard inner(log_->mutex);
      log_->group = std::make_unique<FakeGroup>(fake, std::move(channels));
    });
    return absl::OkStatus();
  }
  void kill() override {
    if (starter_.joinable()) starter_.join();
    const std::lock_guard lock(log_->mutex);
    ++log_->kills;
    log_->group.reset();
  }
  std::optional<std::string> poll_exit() override {
    const std::lock_guard lock(log_->mutex);
    if (log_->kills == static_cast<int>(log_->specs.size())) return "was killed";
    return std::nullopt;
  }
  ~ThreadLauncher() override {
    if (starter_.joinable()) starter_.join();
    const std::lock_guard lock(log_->mutex);
    log_->group.reset();
  }

 private:
  std::shared_ptr<Log> log_;
  std::vector<int64_t> die_at_step_;
  std::thread starter_;
};

TEST(ListeningTransport, TellsTheLauncherWhereToConnectAndKeepsTheSecretInAPrivateFile) {
  auto log = std::make_shared<ThreadLauncher::Log>();
  ListenOptions listen;
  listen.ranks = 2;
  listen.group = 7;
  auto transport = ListeningTransport::create(
      listen, std::make_unique<ThreadLauncher>(log, std::vector<int64_t>{3, -1}));
  ASSERT_TRUE(transport.ok()) << transport.status();
  const uint16_t port = (*transport)->port();
  auto options = options_for(2);
  options.group = 7;
  auto engine = create_engine(options, *std::move(transport));
  ASSERT_TRUE(engine.ok());
  // The fake ranks belong to group 0: refused, so nothing becomes ready.
  ASSERT_TRUE(eventually([&] {
    const std::lock_guard lock(log->mutex);
    return log->specs.size() == 1 && log->group != nullptr;
  }));
  engine->reset();
  const std::lock_guard lock(log->mutex);
  EXPECT_EQ(log->specs[0].coordinator_address, "127.0.0.1");
  EXPECT_EQ(log->specs[0].coordinator_port, port);
  EXPECT_EQ(log->specs[0].group, 7u);
  EXPECT_EQ(log->modes[0], 0600u);
  EXPECT_FALSE(read_file(log->specs[0].secret_file).ok()) << "the secret file outlives its owner";
}

TEST(ListeningTransport, AFailureKillsTheProcessesAndStartsThemAnew) {
  auto log = std::make_shared<ThreadLauncher::Log>();
  ListenOptions listen;
  listen.ranks = 2;
  auto transport = ListeningTransport::create(
      listen, std::make_unique<ThreadLauncher>(log, std::vector<int64_t>{3, -1, -1}));
  ASSERT_TRUE(transport.ok()) << transport.status();
  auto engine = create_engine(options_for(2), *std::move(transport));
  ASSERT_TRUE(engine.ok());
  ASSERT_TRUE(eventually([&] { return (*engine)->status().state == GroupState::kReady; }));
  auto listener = std::make_shared<Ender>();
  GenerationRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 50;
  ASSERT_TRUE((*engine)->submit(request, listener).ok());
  ASSERT_TRUE(eventually([&] { return listener->end().has_value(); }));
  EXPECT_EQ(listener->end()->reason, FinishReason::kError);
  ASSERT_TRUE(eventually([&] { return (*engine)->status().state == GroupState::kReady; }));
  expect_answer(**engine);
  EXPECT_EQ((*engine)->status().restarts, 1);
  engine->reset();
  const std::lock_guard lock(log->mutex);
  EXPECT_EQ(log->specs.size(), 2u);
  EXPECT_EQ(log->kills, 3);  // the failure, the shut-down, the transport's end
}

TEST(ListeningTransport, AnAddressThatCannotBeBoundIsAnError) {
  ListenOptions listen;
  listen.address = "192.0.2.1";  // reserved for documentation: nobody's
  EXPECT_FALSE(ListeningTransport::create(listen, nullptr).ok());
}

}  // namespace
}  // namespace conclave::coordinator
