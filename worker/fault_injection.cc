#include "worker/fault_injection.h"

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr int kExitCode = 17;

absl::Status bad_fault(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("CONCLAVE_FAULT '", std::string(text), "': ",
                                                 std::string(why),
                                                 "; an example is hang:rank=1,step=5,layer=3"));
}

absl::StatusOr<FaultInjection::Kind> parse_kind(std::string_view text, std::string_view kind) {
  if (kind == "hang") return FaultInjection::Kind::kHang;
  if (kind == "exit") return FaultInjection::Kind::kExit;
  if (kind == "error") return FaultInjection::Kind::kError;
  if (kind == "slow") return FaultInjection::Kind::kSlow;
  return bad_fault(text, "the kind is none of hang, exit, error, slow");
}

}  // namespace

absl::Status FaultInjection::strike_now() const {
  switch (kind) {
    case Kind::kNone:
      break;
    case Kind::kHang:
    case Kind::kSlow:
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
      break;
    case Kind::kExit:
      _exit(kExitCode);
    case Kind::kError:
      return absl::InternalError("injected fault");
  }
  return absl::OkStatus();
}

absl::StatusOr<FaultInjection> parse_fault(std::string_view text) {
  FaultInjection fault;
  if (text.empty()) return fault;
  const size_t colon = text.find(':');
  ASSIGN_OR_RETURN(fault.kind, parse_kind(text, text.substr(0, colon)));
  fault.seconds = fault.kind == FaultInjection::Kind::kSlow ? 0.1 : 3600;
  std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  while (!rest.empty()) {
    const std::string_view field = rest.substr(0, rest.find(','));
    rest = field.size() < rest.size() ? rest.substr(field.size() + 1) : "";
    const size_t equals = field.find('=');
    int32_t value = 0;
    const char* end = field.data() + field.size();
    if (equals == std::string_view::npos ||
        std::from_chars(field.data() + equals + 1, end, value).ptr != end) {
      return bad_fault(text, "a field is not key=number");
    }
    const std::string_view key = field.substr(0, equals);
    if (key == "rank") {
      fault.rank = value;
    } else if (key == "step") {
      fault.step = value;
    } else if (key == "layer") {
      fault.layer = value;
    } else if (key == "seconds") {
      fault.seconds = value;
    } else if (key == "ms") {
      fault.seconds = value * 1e-3;
    } else {
      return bad_fault(text, "a key is none of rank, step, layer, seconds, ms");
    }
  }
  if (fault.rank < 0) return bad_fault(text, "rank is missing");
  return fault;
}

absl::StatusOr<FaultInjection> fault_from_environment() {
  const char* text = std::getenv("CONCLAVE_FAULT");
  return parse_fault(text == nullptr ? "" : text);
}

}  // namespace conclave::worker
