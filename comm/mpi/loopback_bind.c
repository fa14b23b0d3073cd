/* Loaded before mpirun's own libraries (LD_PRELOAD) when a group is one host. Open MPI's mpirun listens for its
   daemons on every address, whatever oob_tcp_if_include says; on one host there are no daemons, and nobody else has
   business with that socket. A bind to "any address" becomes one to loopback. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_function)(int, const struct sockaddr*, socklen_t);

int bind(int fd, const struct sockaddr* address, socklen_t length) {
  const bind_function next = (bind_function)dlsym(RTLD_NEXT, "bind");
  if (next == NULL) {
    errno = ENOSYS;
    return -1;
  }
  if (address != NULL && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    if (v4.sin_addr.s_addr == htonl(INADDR_ANY)) v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return next(fd, (const struct sockaddr*)&v4, sizeof v4);
  }
  if (address != NULL && address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof v6);
    if (!IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) return next(fd, address, length);
    v6.sin6_addr = in6addr_loopback;
    if (next(fd, (const struct sockaddr*)&v6, sizeof v6) == 0) return 0;
    if (errno != EADDRNOTAVAIL) return -1;
    /* Sockets of IPv6 on a host without its loopback address: 127.0.0.1 as IPv6 writes it. */
    memset(&v6.sin6_addr, 0, sizeof v6.sin6_addr);
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    v6.sin6_addr.s6_addr[12] = 127;
    v6.sin6_addr.s6_addr[15] = 1;
    return next(fd, (const struct sockaddr*)&v6, sizeof v6);
  }
  return next(fd, address, length);
}

/* The ranks that mpirun starts get the LD_PRELOAD that the operator gave, if any: this library is its last entry.
   A script in mpirun's place hands it on. */
__attribute__((constructor)) static void leave_the_environment(void) {
  static const char* const kLaunchers[] = {"mpirun", "orterun", "mpiexec", "prterun"};
  const char* preloaded = getenv("LD_PRELOAD");
  int is_launcher = 0;
  for (size_t i = 0; i < sizeof kLaunchers / sizeof *kLaunchers; ++i) {
    if (strncmp(program_invocation_short_name, kLaunchers[i], strlen(kLaunchers[i])) == 0) is_launcher = 1;
  }
  if (!is_launcher || preloaded == NULL) return;
  const char* last = strrchr(preloaded, ':');
  char* rest = last == NULL ? NULL : strndup(preloaded, (size_t)(last - preloaded));
  if (rest == NULL || *rest == '\0') {
    unsetenv("LD_PRELOAD");
  } else {
    setenv("LD_PRELOAD", rest, 1);
  }
  free(rest);
}
