#ifndef CONCLAVE_CLI_CONCLAVECTL_TABLES_H_
#define CONCLAVE_CLI_CONCLAVECTL_TABLES_H_

// Documents of the admin API as tables for people.

#include <string>

#include "cli/conclavectl/session.h"

namespace conclave::ctl {

// The document "status" on one screen, with colour where stdout takes it.
std::string status_screen(const Json& status);
std::string ranks_table(const Json& document, bool wide);
std::string requests_table(const Json& document, bool wide);
std::string experts_table(const Json& document, bool wide);
// "name: value" lines of a document without its version and kind; objects are flattened.
std::string description(const Json& document);
std::string first_lines(const std::string& text, int lines);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_TABLES_H_
