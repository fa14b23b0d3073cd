#include <string>
#include <string_view>

#include "coordinator/admin/admin_routes.h"
#include "coordinator/admin/embedded_page.h"

namespace conclave::coordinator {
namespace {

// Nothing from anywhere else, no inline script: what the page shows comes partly from clients.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "
    "data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void add_file(Router& router, const char* path, const char* type, std::string_view content) {
  router.add(
      "GET", path,
      [type, content](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
        responder->respond(200,
                           {{"Content-Type", type},
                            {"Content-Security-Policy", std::string(kPolicy)},
                            {"X-Content-Type-Options", "nosniff"},
                            {"Referrer-Policy", "no-referrer"},
                            {"Cache-Control", "no-cache"}},
                           std::string(content));
      });
}

}  // namespace

void add_page_routes(Router& router) {
  add_file(router, "/ui", "text/html; charset=utf-8", page::kIndexHtml);
  add_file(router, "/ui/", "text/html; charset=utf-8", page::kIndexHtml);
  add_file(router, "/ui/page.css", "text/css; charset=utf-8", page::kPageCss);
  add_file(router, "/ui/page.js", "text/javascript; charset=utf-8", page::kPageJs);
}

}  // namespace conclave::coordinator
