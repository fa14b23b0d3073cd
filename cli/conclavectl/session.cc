#include "cli/conclavectl/session.h"

#include <cctype>
#include <cstdio>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/exit_codes.h"
#include "coordinator/http/api_key_file.h"

namespace conclave::ctl {
namespace {

struct ServerError {
  std::string message, code;
};

ServerError parse_error(const coordinator::HttpAnswer& answer) {
  const Json body = Json::parse(answer.body, nullptr, false);
  if (!body.is_object() || !body.contains("error") || !body["error"].is_object()) return {answer.body, ""};
  const auto text = [&](const char* name) {
    const auto found = body["error"].find(name);
    return found != body["error"].end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  return {text("message"), text("code")};
}

// What the router says of a path that no route has; any other 404 is about a thing that was looked for.
constexpr std::string_view kNoRoute = "There is nothing at ";

absl::Status status_of(const std::string& method, const std::string& path, const std::string& endpoint,
                       const coordinator::HttpAnswer& answer) {
  const ServerError error = parse_error(answer);
  const std::string said = absl::StrCat(endpoint, " answered ", answer.status, ": ", error.message);
  switch (answer.status) {
    case 400:
    case 413:
    case 422: return absl::InvalidArgumentError(said);
    case 401: return absl::UnauthenticatedError(absl::StrCat(said, " (give the admin key with --key-file)"));
    case 403: return absl::UnauthenticatedError(said);
    case 404:
      if (!error.code.empty() && !error.message.starts_with(kNoRoute)) return absl::NotFoundError(said);
      [[fallthrough]];
    case 405:
    case 501:
      return absl::UnimplementedError(absl::StrCat(endpoint, " does not know ", method, " ", path,
                                                   "; is it the admin listener of a Conclave that has this verb?"));
    case 409: return absl::FailedPreconditionError(said);
    case 429:
    case 503: return absl::UnavailableError(said);
    default: return absl::InternalError(said);
  }
}

}  // namespace

std::string encode_path(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) {
    if (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.') {
      out.push_back(static_cast<char>(c));
    } else {
      absl::StrAppend(&out, "%", absl::Hex(c, absl::kZeroPad2));
    }
  }
  return out;
}

int report(const absl::Status& status) {
  if (status.ok()) return cli::kExitOk;
  std::fprintf(stderr, "conclavectl: %s\n", std::string(status.message()).c_str());
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated: return kExitDenied;
    case absl::StatusCode::kNotFound: return kExitNotFound;
    case absl::StatusCode::kUnimplemented: return kExitUnsupported;
    case absl::StatusCode::kFailedPrecondition: return kExitCondition;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied: return cli::kExitBadInput;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded: return cli::kExitUnavailable;
    default: return cli::kExitFailure;
  }
}

absl::Status Session::connect() {
  if (client_ != nullptr) return absl::OkStatus();
  coordinator::HttpClient::Options options;
  ASSIGN_OR_RETURN(options.endpoint, coordinator::parse_http_endpoint(options_.endpoint));
  if (!options_.key_file.empty()) {
    const auto key = coordinator::first_api_key(options_.key_file);
    // An unreadable file is a wrong value, not a missing request or rank.
    if (!key.ok()) return absl::InvalidArgumentError(key.status().message());
    options.api_key = *key;
  }
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(options_.timeout_seconds * 1000));
  client_ = coordinator::HttpClient::create(std::move(options));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Session::text(const std::string& method, const std::string& path, const std::string& body) {
  RETURN_IF_ERROR(connect());
  coordinator::HttpAnswer answer = client_->call(method, path, body);
  if (!answer.error.ok()) {
    if (!absl::IsUnavailable(answer.error)) return answer.error;
    return absl::UnavailableError(absl::StrCat(std::string(answer.error.message()),
                                               "; name the admin listener with --endpoint or CONCLAVE_ADMIN_ENDPOINT"));
  }
  if (answer.status < 200 || answer.status >= 300) return status_of(method, path, options_.endpoint, answer);
  return std::move(answer.body);
}

absl::StatusOr<Json> Session::ask(const std::string& method, const std::string& path, const std::string& body) {
  ASSIGN_OR_RETURN(const std::string answer, text(method, path, body));
  Json json = Json::parse(answer, nullptr, false);
  if (json.is_discarded()) {
    return absl::UnimplementedError(absl::StrCat(options_.endpoint, path, " did not answer with JSON; is it an admin listener?"));
  }
  if (json.is_object() && json.contains("version") && json["version"].is_number_integer() && json["version"] != 1) {
    return absl::UnimplementedError(absl::StrCat(options_.endpoint, path, " speaks version ", json["version"].dump(),
                                                 "; this conclavectl knows version 1"));
  }
  return json;
}

absl::StatusOr<Json> Session::get(const std::string& path) { return ask("GET", path, ""); }
absl::StatusOr<Json> Session::post(const std::string& path, const Json& body) {
  return ask("POST", path, body.dump(-1, ' ', false, Json::error_handler_t::replace));
}
absl::StatusOr<Json> Session::remove(const std::string& path) { return ask("DELETE", path, ""); }

}  // namespace conclave::ctl
