#include "coordinator/http/router.h"

#include <utility>

namespace conclave::coordinator {
namespace {

bool is_prefix_pattern(std::string_view pattern) { return pattern.ends_with('*'); }

std::string_view without_star(std::string_view pattern) {
  return pattern.substr(0, pattern.size() - 1);
}

bool method_fits(std::string_view route_method, std::string_view method) {
  return route_method == method || (route_method == "GET" && method == "HEAD");
}

ApiError not_found(const HttpRequest& request) {
  ApiError error = bad_request("There is nothing at " + request.method + " " + request.path + ".",
                               std::nullopt, "not_found");
  error.status = 404;
  return error;
}

ApiError method_not_allowed(const HttpRequest& request, std::string allow) {
  ApiError error = bad_request("The method " + request.method + " is not allowed for " +
                                   request.path + "; use " + allow + ".",
                               std::nullopt, "method_not_allowed");
  error.status = 405;
  error.headers.push_back({"Allow", std::move(allow)});
  return error;
}

}  // namespace

void Router::add(std::string method, std::string path, RouteHandler handler) {
  routes_.push_back({std::move(method), std::move(path), std::move(handler)});
}

bool Router::matches(const Route& route, std::string_view path) {
  if (!is_prefix_pattern(route.path)) return route.path == path;
  const std::string_view prefix = without_star(route.path);
  return path.size() > prefix.size() && path.starts_with(prefix);
}

void Router::handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) const {
  if (request.path == "*")
    return responder->respond(204, {{"Allow", "GET, HEAD, POST, DELETE, OPTIONS"}}, "");
  std::string allow;
  for (const Route& route : routes_) {
    if (!matches(route, request.path)) continue;
    if (method_fits(route.method, request.method)) {
      const std::string rest = is_prefix_pattern(route.path)
                                   ? request.path.substr(route.path.size() - 1)
                                   : std::string();
      return route.handler(std::move(request), rest, std::move(responder));
    }
    allow += (allow.empty() ? "" : ", ") + route.method + (route.method == "GET" ? ", HEAD" : "");
  }
  if (allow.empty()) return respond_error(*responder, not_found(request));
  if (request.method == "OPTIONS")
    return responder->respond(204, {{"Allow", allow + ", OPTIONS"}}, "");
  respond_error(*responder, method_not_allowed(request, allow + ", OPTIONS"));
}

std::string Router::label_of(std::string_view path) const {
  for (const Route& route : routes_) {
    if (matches(route, path)) return route.path;
  }
  return "other";
}

}  // namespace conclave::coordinator
