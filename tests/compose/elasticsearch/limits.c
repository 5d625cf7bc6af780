/* Elasticsearch refuses to join a cluster with fewer than 65,535 open files. Where not even root may raise the limit, as in
   some sandboxes, the stand-in reports that number: the tests need a few hundred. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
  int (*real)(__rlimit_resource_t, struct rlimit *) = dlsym(RTLD_NEXT, "getrlimit");
  int result = real(resource, limit);
  if (resource == RLIMIT_NOFILE && limit->rlim_max < 65535) limit->rlim_cur = limit->rlim_max = 65535;
  return result;
}

int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit) {
  return getrlimit(resource, (struct rlimit *)limit);
}
