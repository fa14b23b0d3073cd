#include "expert_placement/ilp/mip_wire.h"

#include <poll.h>
#include <sys/socket.h>

#include <cstddef>

namespace conclave::placement {
namespace {

constexpr double kMostNumbers = 1 << 28;

// Waits until the socket is ready for `events`.
bool ready(int socket, short events, WireDeadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  pollfd poller{socket, events, 0};
  return left.count() > 0 && poll(&poller, 1, static_cast<int>(left.count())) > 0;
}

bool send_bytes(int socket, const void* data, size_t bytes, WireDeadline deadline) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    if (!ready(socket, POLLOUT, deadline)) return false;
    const ssize_t sent = send(socket, at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return false;
    at += sent;
    bytes -= static_cast<size_t>(sent);
  }
  return true;
}

bool receive_bytes(int socket, void* data, size_t bytes, WireDeadline deadline) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    if (!ready(socket, POLLIN, deadline)) return false;
    const ssize_t got = recv(socket, at, bytes, 0);
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

// Takes numbers one after the other; ok() turns false beyond the end.
class Reader {
 public:
  explicit Reader(const std::vector<double>& numbers) : numbers_(numbers) {}
  double next() {
    if (at_ < numbers_.size()) return numbers_[at_++];
    ok_ = false;
    return 0;
  }
  // A length that what is left can hold.
  size_t length() {
    const double value = next();
    if (value >= 0 && value <= static_cast<double>(numbers_.size() - at_))
      return static_cast<size_t>(value);
    ok_ = false;
    return 0;
  }
  bool ok() const { return ok_; }

 private:
  const std::vector<double>& numbers_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace

std::vector<double> encode_model(const MipModel& model, double seconds) {
  std::vector<double> out{seconds, static_cast<double>(model.columns.size())};
  for (const auto& c : model.columns)
    out.insert(out.end(), {c.lower, c.upper, c.gain, c.integer ? 1.0 : 0.0});
  out.push_back(static_cast<double>(model.rows.size()));
  for (const auto& row : model.rows) {
    out.insert(out.end(), {row.lower, row.upper, static_cast<double>(row.entries.size())});
    for (const auto& [column, value] : row.entries)
      out.insert(out.end(), {static_cast<double>(column), value});
  }
  out.push_back(static_cast<double>(model.start.size()));
  out.insert(out.end(), model.start.begin(), model.start.end());
  return out;
}

bool decode_model(const std::vector<double>& numbers, MipModel* model, double* seconds) {
  Reader in(numbers);
  *seconds = in.next();
  for (size_t left = in.length(); left > 0 && in.ok(); --left) {
    MipModel::Column column;
    column.lower = in.next();
    column.upper = in.next();
    column.gain = in.next();
    column.integer = in.next() != 0;
    model->columns.push_back(column);
  }
  for (size_t left = in.length(); left > 0 && in.ok(); --left) {
    MipModel::Row row;
    row.lower = in.next();
    row.upper = in.next();
    for (size_t entries = in.length(); entries > 0 && in.ok(); --entries) {
      const double column = in.next();
      if (column < 0 || column >= static_cast<double>(model->columns.size())) return false;
      const double value = in.next();
      row.entries.emplace_back(static_cast<int32_t>(column), value);
    }
    model->rows.push_back(std::move(row));
  }
  for (size_t left = in.length(); left > 0 && in.ok(); --left) model->start.push_back(in.next());
  return in.ok();
}

std::vector<double> encode_result(const MipResult& result) {
  std::vector<double> out{static_cast<double>(result.status), result.objective, result.bound};
  out.insert(out.end(), result.values.begin(), result.values.end());
  return out;
}

bool decode_result(const std::vector<double>& numbers, MipResult* result) {
  if (numbers.size() < 3 || numbers[0] < 0 || numbers[0] > 2) return false;
  result->status = static_cast<MipStatus>(numbers[0]);
  result->objective = numbers[1];
  result->bound = numbers[2];
  result->values.assign(numbers.begin() + 3, numbers.end());
  return true;
}

bool send_numbers(int socket, const std::vector<double>& numbers, WireDeadline deadline) {
  const auto count = static_cast<double>(numbers.size());
  return send_bytes(socket, &count, sizeof count, deadline) &&
         send_bytes(socket, numbers.data(), numbers.size() * sizeof(double), deadline);
}

bool receive_numbers(int socket, std::vector<double>* numbers, WireDeadline deadline) {
  double count = 0;
  if (!receive_bytes(socket, &count, sizeof count, deadline) || !(count >= 0) ||
      count > kMostNumbers)
    return false;
  numbers->resize(static_cast<size_t>(count));
  return receive_bytes(socket, numbers->data(), numbers->size() * sizeof(double), deadline);
}

}  // namespace conclave::placement
