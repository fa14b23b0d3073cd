#ifndef CONCLAVE_BASE_VERSION_H_
#define CONCLAVE_BASE_VERSION_H_

namespace conclave {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace conclave

#endif  // CONCLAVE_BASE_VERSION_H_
