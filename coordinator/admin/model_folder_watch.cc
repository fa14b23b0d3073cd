#include "coordinator/admin/model_folder_watch.h"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include "base/deadline.h"
#include "base/log.h"

namespace conclave::coordinator {
namespace {

using std::chrono::milliseconds;

// A busy disk may take this long; nobody shall be alarmed before.
constexpr milliseconds kSilence{10000};
constexpr milliseconds kGoodbye{500};

void say(const ModelFolderFindings& findings) {
  for (const auto* list : {&findings.gone, &findings.changed}) {
    for (const std::string& finding : *list) {
      log_warning("the next restart cannot load the model that runs now", {{"why", finding}});
    }
  }
  if (findings == ModelFolderFindings{})
    log_info("the model's files are as they were loaded again");
}

}  // namespace

struct ModelFolderWatch::State {
  State(const std::string& folder, milliseconds each)
      : snapshot(ModelFolderSnapshot::take(folder)), period(each) {}
  const ModelFolderSnapshot snapshot;
  const milliseconds period;
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  bool stop = false, ended = false;
  int64_t asked = 0;     // looks that somebody waits for, by number
  int64_t answered = 0;  // the last of them that began after it was asked for
  bool looking = false;
  SteadyClock::time_point began;
  ModelFolderFindings findings;

  // silent_seconds of a look that takes too long; mutex held.
  double silence() const {
    const auto age = SteadyClock::now() - began;
    return looking && age > kSilence ? std::chrono::duration<double>(age).count() : 0;
  }
  void run();
};

void ModelFolderWatch::State::run() {
  std::unique_lock lock(mutex);
  while (!stop) {
    changed.wait_for(lock, period, [this] { return stop || asked > answered; });
    if (stop) break;
    const int64_t number = asked;
    looking = true;
    began = SteadyClock::now();
    lock.unlock();
    ModelFolderFindings found = snapshot.compare();
    lock.lock();
    looking = false;
    answered = number;
    const bool news = found != findings;
    findings = found;
    changed.notify_all();
    if (!news) continue;
    lock.unlock();
    say(found);
    lock.lock();
  }
  ended = true;
  changed.notify_all();
}

ModelFolderWatch::ModelFolderWatch(const std::string& folder, milliseconds period)
    : state_(std::make_shared<State>(folder, period)),
      thread_([state = state_] { state->run(); }) {}

ModelFolderWatch::~ModelFolderWatch() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  const bool ended = state_->changed.wait_for(lock, kGoodbye, [this] { return state_->ended; });
  lock.unlock();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();  // it hangs in the file system, and its state is its own
  }
}

ModelFolderFindings ModelFolderWatch::look(milliseconds patience) const {
  std::unique_lock lock(state_->mutex);
  const int64_t number = ++state_->asked;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, patience, [&] { return state_->answered >= number; });
  ModelFolderFindings found = state_->findings;
  found.silent_seconds = state_->silence();
  return found;
}

ModelFolderFindings ModelFolderWatch::last() const {
  const std::lock_guard lock(state_->mutex);
  ModelFolderFindings found = state_->findings;
  found.silent_seconds = state_->silence();
  return found;
}

}  // namespace conclave::coordinator
