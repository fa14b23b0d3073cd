#include "coordinator/openai/request_json.h"

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace conclave::coordinator {
namespace {

// Below this many keys a linear look is cheaper than a hash set.
constexpr size_t kLinearKeys = 16;

// Builds the document while it enforces what the library's own builder would let pass.
class StrictBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit StrictBuilder(Json* root) : root_(root) {}
  const std::string& problem() const { return problem_; }

  bool null() override { return add(Json(nullptr)) != nullptr; }
  bool boolean(bool value) override { return add(Json(value)) != nullptr; }
  bool number_integer(number_integer_t value) override { return add(Json(value)) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)) != nullptr; }
  bool number_float(number_float_t value, const string_t& text) override {
    // An integer that no 64 bits hold: as a double it would be another number.
    if (text.find_first_of(".eE") == string_t::npos) return fail("the number " + text.substr(0, 64) + " does not fit 64 bits");
    return add(Json(value)) != nullptr;
  }
  bool string(string_t& value) override { return add(Json(std::move(value))) != nullptr; }
  bool binary(binary_t&) override { return fail("binary data"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override;
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    return fail("the text at byte " + std::to_string(position) + " does not belong there");
  }

 private:
  struct Frame {
    Json* value;
    std::unordered_set<std::string> keys;  // filled from kLinearKeys on
  };
  bool fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  Json* add(Json value);
  bool open(Json container);
  bool close() {
    frames_.pop_back();
    return true;
  }
  bool is_duplicate(Frame& frame, const std::string& name) const;

  Json* root_;
  // A container's address is stable while it is open: its parent does not grow meanwhile.
  std::vector<Frame> frames_;
  std::string problem_;
};

Json* StrictBuilder::add(Json value) {
  if (frames_.empty()) {
    *root_ = std::move(value);
    return root_;
  }
  Json& parent = *frames_.back().value;
  if (parent.is_array()) {
    parent.push_back(std::move(value));
    return &parent.back();
  }
  auto& members = *parent.get_ptr<Json::object_t*>();
  members.back().second = std::move(value);
  return &members.back().second;
}

bool StrictBuilder::open(Json container) {
  if (frames_.size() >= static_cast<size_t>(kMaxJsonDepth)) {
    return fail("it is nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
  }
  Json* value = add(std::move(container));
  frames_.push_back({value, {}});
  return true;
}

bool StrictBuilder::is_duplicate(Frame& frame, const std::string& name) const {
  const auto& members = *frame.value->get_ptr<Json::object_t*>();
  if (members.size() < kLinearKeys) return members.find(name) != members.end();
  if (frame.keys.empty()) {
    for (const auto& member : members) frame.keys.insert(member.first);
  }
  return !frame.keys.insert(name).second;
}

bool StrictBuilder::key(string_t& name) {
  Frame& frame = frames_.back();
  if (is_duplicate(frame, name))
    return fail("the key \"" + name.substr(0, 64) + "\" occurs twice in one object");
  // Appends without the library's search for an equal key, which would make long objects quadratic.
  static_cast<Json::object_t::Container&>(*frame.value->get_ptr<Json::object_t*>())
      .emplace_back(name, nullptr);
  return true;
}

}  // namespace

std::optional<ApiError> parse_json_object(std::string_view text, Json* object) {
  *object = nullptr;
  StrictBuilder builder(object);
  const bool parsed = Json::sax_parse(text.begin(), text.end(), &builder);
  if (!parsed) {
    return bad_request("The request body is not valid JSON: " + builder.problem() + ".",
                       std::nullopt, "invalid_json");
  }
  if (!object->is_object()) {
    return bad_request("The request body must be a JSON object.", std::nullopt, "invalid_json");
  }
  return std::nullopt;
}

}  // namespace conclave::coordinator
