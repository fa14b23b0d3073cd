#ifndef CONCLAVE_COORDINATOR_HTTP_ROUTER_H_
#define CONCLAVE_COORDINATOR_HTTP_ROUTER_H_

// From method and path to a handler. Filled before the server starts, then immutable.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// rest: what a path ending in '*' stood for, "" otherwise.
using RouteHandler = std::function<void(HttpRequest request, const std::string& rest,
                                        std::shared_ptr<HttpResponder> responder)>;
class Router {
 public:
  // path: exact ("/v1/models") or a prefix ("/v1/models/*"). GET routes answer HEAD as well.
  void add(std::string method, std::string path, RouteHandler handler);
  // 404 for an unknown path, 405 with Allow for a wrong method, 204 with Allow for OPTIONS.
  void handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) const;
  // The pattern that path matches, "other" if none: a bounded label for metrics.
  std::string label_of(std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::string path;
    RouteHandler handler;
  };
  static bool matches(const Route& route, std::string_view path);
  std::vector<Route> routes_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_ROUTER_H_
