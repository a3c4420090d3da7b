/* Preloaded into Node: no thread can be started any more once there is the file that NO_THREADS names. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

typedef int creates(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    const char *file = getenv("NO_THREADS");
    if (file != NULL && access(file, F_OK) == 0) return EAGAIN;
    creates *create = (creates *)dlsym(RTLD_NEXT, "pthread_create");
    return create(thread, attributes, run, argument);
}
