#ifndef CONCLAVE_COORDINATOR_OPENAI_TEXT_WORKER_H_
#define CONCLAVE_COORDINATOR_OPENAI_TEXT_WORKER_H_

// A thread for requests whose text takes long to read: tokenising megabytes on an I/O thread would hold up
// every stream of that thread.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "coordinator/http/router.h"

namespace conclave::coordinator {

// Thread-safe. The destructor drops tasks that wait, and waits for the one that runs unless that one is what
// destroys it (the last request of a server that is gone).
class TextWorker {
 public:
  TextWorker();
  ~TextWorker();
  TextWorker(const TextWorker&) = delete;
  TextWorker& operator=(const TextWorker&) = delete;

  // False, and nothing happens, while kMaxWaiting tasks wait.
  bool post(std::function<void()> task);
  static constexpr size_t kMaxWaiting = 64;

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> waiting;
    bool stop = false;
  };
  static void run(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;  // shared with the thread
  std::thread thread_;
};

// The same handler, on the worker's thread for bodies of more than kInlineBodyBytes; 429 when too many wait.
// The handler may then not assume to be on the connection's strand.
RouteHandler off_the_loop(std::shared_ptr<TextWorker> worker, RouteHandler handler);
inline constexpr size_t kInlineBodyBytes = 32768;

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_TEXT_WORKER_H_
