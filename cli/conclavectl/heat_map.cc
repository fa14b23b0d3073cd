#include "cli/conclavectl/heat_map.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace conclave::ctl {
namespace {

struct Colour {
  uint8_t red = 255, green = 255, blue = 255;
};

constexpr double kFullShare = 3;  // times the mean: the darkest colour
constexpr int kLeft = 70, kTop = 56, kBottom = 30, kRight = 20;

// Nine ranks apart for most eyes (after Okabe and Ito's palette); more repeat.
constexpr std::array<Colour, 9> kRankColours = {{{0, 114, 178}, {230, 159, 0}, {0, 158, 115}, {204, 121, 167}, {86, 180, 233},
                                                 {213, 94, 0}, {240, 228, 66}, {120, 120, 120}, {100, 60, 160}}};

Colour rank_colour(int32_t rank) { return kRankColours[static_cast<size_t>(std::max(0, rank)) % kRankColours.size()]; }

// White to dark red by way of orange.
Colour heat(double share) {
  const double x = std::clamp(share / kFullShare, 0.0, 1.0);
  const auto mix = [](double a, double b, double t) { return static_cast<uint8_t>(a + (b - a) * t + 0.5); };
  if (x < 0.5) return {mix(255, 253, x * 2), mix(255, 174, x * 2), mix(255, 97, x * 2)};
  return {mix(253, 128, x * 2 - 1), mix(174, 0, x * 2 - 1), mix(97, 38, x * 2 - 1)};
}

struct Layout {
  int cell_width = 0, cell_height = 18, columns = 0, rows = 0;
  int width() const { return kLeft + columns * cell_width + kRight; }
  int height() const { return kTop + rows * cell_height + kBottom; }
};

Layout layout_of(const HeatMap& map) {
  Layout layout;
  layout.rows = static_cast<int>(map.share.size());
  for (const auto& row : map.share) layout.columns = std::max(layout.columns, static_cast<int>(row.size()));
  layout.cell_width = std::clamp(layout.columns > 0 ? 1100 / layout.columns : 40, 4, 40);
  return layout;
}

int32_t holder_of(const HeatMap& map, size_t row, size_t column) {
  return row < map.holder.size() && column < map.holder[row].size() ? map.holder[row][column] : -1;
}

std::string hex(Colour c) { return absl::StrFormat("#%02x%02x%02x", c.red, c.green, c.blue); }

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out.push_back(c);
  }
  return out;
}

void append_text(int x, int y, int size, const char* anchor, std::string_view text, std::string* out) {
  absl::StrAppendFormat(out, "<text x=\"%d\" y=\"%d\" font-size=\"%d\" text-anchor=\"%s\">%s</text>\n", x, y, size, anchor, escape(text));
}

void append_rect(int x, int y, int width, int height, Colour colour, std::string_view title, std::string* out) {
  absl::StrAppendFormat(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\">", x, y, width, height, hex(colour));
  if (!title.empty()) absl::StrAppend(out, "<title>", escape(title), "</title>");
  out->append("</rect>\n");
}

// Pixels that know nothing but rectangles: the picture needs no letters, its caption is text of the PNG.
class Canvas {
 public:
  Canvas(int width, int height) : width_(width), height_(height), pixels_(static_cast<size_t>(width) * static_cast<size_t>(height)) {}
  void fill(int x, int y, int width, int height, Colour colour) {
    for (int row = std::max(0, y); row < std::min(height_, y + height); ++row) {
      for (int column = std::max(0, x); column < std::min(width_, x + width); ++column)
        pixels_[static_cast<size_t>(row) * static_cast<size_t>(width_) + static_cast<size_t>(column)] = colour;
    }
  }
  // Each line led by its filter type, 0: none.
  std::string scan_lines() const {
    std::string out;
    for (int row = 0; row < height_; ++row) {
      out.push_back('\0');
      for (int column = 0; column < width_; ++column) {
        const Colour& c = pixels_[static_cast<size_t>(row) * static_cast<size_t>(width_) + static_cast<size_t>(column)];
        out.push_back(static_cast<char>(c.red));
        out.push_back(static_cast<char>(c.green));
        out.push_back(static_cast<char>(c.blue));
      }
    }
    return out;
  }

 private:
  int width_, height_;
  std::vector<Colour> pixels_;
};

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8), static_cast<char>(value)};
}

void append_chunk(std::string_view type, std::string_view data, std::string* out) {
  const std::string body = absl::StrCat(std::string(type), std::string(data));
  absl::StrAppend(out, big_endian(static_cast<uint32_t>(data.size())), body,
                  big_endian(static_cast<uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())))));
}

std::string deflated(const std::string& text) {
  uLongf size = ::compressBound(static_cast<uLong>(text.size()));
  std::string out(size, '\0');
  ::compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()), static_cast<uLong>(text.size()), 6);
  out.resize(size);
  return out;
}

}  // namespace

absl::StatusOr<HeatMap> heat_map_of(const Json& experts) {
  HeatMap map;
  const bool per_expert = experts["per_expert"] == true;
  map.column_name = per_expert ? "expert" : "rank";
  double counted = 0;
  for (const Json& layer : experts["layers"]) {
    auto rows = layer[per_expert ? "expert_rows" : "rank_rows"].get<std::vector<double>>();
    const double total = std::accumulate(rows.begin(), rows.end(), 0.0);
    counted += total;
    std::vector<int32_t>& holder = map.holder.emplace_back();
    for (size_t i = 0; i < rows.size(); ++i) {
      const Json& holders = layer["holders"];
      const bool known = per_expert && i < holders.size() && !holders[i].empty();
      holder.push_back(per_expert ? (known ? holders[i][0].get<int32_t>() : -1) : static_cast<int32_t>(i));
      rows[i] = total > 0 ? rows[i] * static_cast<double>(rows.size()) / total : 0;
    }
    map.layers.push_back(layer["layer"].dump());
    map.share.push_back(std::move(rows));
  }
  if (counted <= 0) return absl::FailedPreconditionError("no expert has been used yet: send some requests first");
  map.title = absl::StrCat("Rows per ", map.column_name, " and MoE layer, as multiples of the layer's mean");
  return map;
}

std::string heat_map_svg(const HeatMap& map) {
  const Layout layout = layout_of(map);
  std::string out = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", layout.width(), layout.height());
  append_text(kLeft, 22, 14, "start", map.title, &out);
  append_text(kLeft, 42, 11, "start", absl::StrCat("white: unused, dark: ", kFullShare, " times the mean or more; bar: rank that holds it"), &out);
  for (int row = 0; row < layout.rows; ++row) {
    const int y = kTop + row * layout.cell_height;
    append_text(kLeft - 8, y + 13, 11, "end", absl::StrCat("layer ", map.layers[static_cast<size_t>(row)]), &out);
    const auto& shares = map.share[static_cast<size_t>(row)];
    for (size_t column = 0; column < shares.size(); ++column) {
      const int x = kLeft + static_cast<int>(column) * layout.cell_width;
      const int32_t holder = holder_of(map, static_cast<size_t>(row), column);
      append_rect(x, y, layout.cell_width - 1, layout.cell_height - 5, heat(shares[column]),
                  absl::StrFormat("%s %d: %.2f times the mean%s", map.column_name, column, shares[column],
                                  holder >= 0 && map.column_name != "rank" ? absl::StrCat(", rank ", holder) : std::string()), &out);
      if (holder >= 0) append_rect(x, y + layout.cell_height - 5, layout.cell_width - 1, 3, rank_colour(holder), "", &out);
    }
  }
  append_text(kLeft, layout.height() - 10, 11, "start",
              absl::StrCat(map.column_name, "s 0 to ", std::max(0, layout.columns - 1), ", left to right"), &out);
  return out + "</svg>\n";
}

std::string heat_map_png(const HeatMap& map) {
  const Layout layout = layout_of(map);
  Canvas canvas(layout.width(), layout.height());
  for (size_t row = 0; row < map.share.size(); ++row) {
    const int y = kTop + static_cast<int>(row) * layout.cell_height;
    for (size_t column = 0; column < map.share[row].size(); ++column) {
      const int x = kLeft + static_cast<int>(column) * layout.cell_width;
      canvas.fill(x, y, layout.cell_width - 1, layout.cell_height - 5, heat(map.share[row][column]));
      const int32_t holder = holder_of(map, row, column);
      if (holder >= 0) canvas.fill(x, y + layout.cell_height - 5, layout.cell_width - 1, 3, rank_colour(holder));
    }
  }
  std::string out = "\x89PNG\r\n\x1a\n";
  append_chunk("IHDR", big_endian(static_cast<uint32_t>(layout.width())) + big_endian(static_cast<uint32_t>(layout.height())) +
                           std::string("\x08\x02\x00\x00\x00", 5), &out);
  append_chunk("tEXt", absl::StrCat("Title", std::string(1, '\0'), map.title), &out);
  append_chunk("IDAT", deflated(canvas.scan_lines()), &out);
  append_chunk("IEND", "", &out);
  return out;
}

}  // namespace conclave::ctl
