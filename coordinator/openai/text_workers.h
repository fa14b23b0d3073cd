#ifndef CONCLAVE_COORDINATOR_OPENAI_TEXT_WORKERS_H_
#define CONCLAVE_COORDINATOR_OPENAI_TEXT_WORKERS_H_

// Threads for requests whose text takes long to read: tokenising megabytes on an I/O thread would
// hold up every stream of that thread.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/http/router.h"
#include "coordinator/openai/text_queue.h"

namespace conclave::coordinator {

// One thread reads short texts alone, and a client's long texts take one thread at a time: whatever
// one client sends, another finds a thread. Thread-safe. The destructor drops jobs that wait, and
// waits for those that run unless one of them is what destroys it (the last request of a server
// that is gone).
class TextWorkers {
 public:
  static constexpr int kThreads = 3;

  explicit TextWorkers(TextQueueLimits limits = {});
  ~TextWorkers();
  TextWorkers(const TextWorkers&) = delete;
  TextWorkers& operator=(const TextWorkers&) = delete;

  // False, and nothing happens, while too much waits. A job whose client has gone is not begun.
  bool post(TextJob job);

 private:
  struct State {
    explicit State(TextQueueLimits limits) : queue(limits) {}
    std::mutex mutex;
    std::condition_variable changed;
    TextQueue queue;
    std::set<std::string> long_clients;  // whose long text runs
    bool stop = false;
  };
  static void run(const std::shared_ptr<State>& state, bool takes_long);
  std::shared_ptr<State> state_;  // shared with the threads
  std::vector<std::thread> threads_;
};

// gone: becomes true when the client has left; nobody reads an answer then.
using TextHandler = std::function<void(
    HttpRequest request, std::shared_ptr<HttpResponder> responder, const std::atomic<bool>& gone)>;
// The handler, on the workers' threads for bodies of more than kInlineBodyBytes; 429 where too much
// waits. It may then not assume to be on the connection's strand. A client is an API key; without
// keys every request is one, because addresses say little behind a proxy.
RouteHandler off_the_loop(std::shared_ptr<TextWorkers> workers, TextHandler handler);
inline constexpr size_t kInlineBodyBytes = 32768;

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_TEXT_WORKERS_H_
