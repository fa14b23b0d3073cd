#ifndef CONCLAVE_BASE_LOG_FILE_H_
#define CONCLAVE_BASE_LOG_FILE_H_

// Where the records of base/log.h go: stderr, or a file that others may rename and ask to have
// opened again. Process-wide; any thread.

#include <string>

#include "absl/status/status.h"

namespace conclave {

// From now on records are appended to this file, made with mode 0640 if it is not there. Once.
absl::Status open_log_file(const std::string& path);
// Opens the same path again, where the file may have been renamed since: no record is lost or cut.
// Without a file nothing happens; if it cannot be opened, the old one stays.
absl::Status reopen_log_file();
// A line of another program, without its newline, to where the records go.
void write_log_line(std::string line);

}  // namespace conclave

#endif  // CONCLAVE_BASE_LOG_FILE_H_
