#include "guard.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>

/* Small, since it is locked into memory; what the architecture needs may be more. */
#ifdef SANITIZED
#define STACK_SIZE (1024 * 1024)
#else
#define STACK_SIZE (32 * 1024)
#endif

int thread_start(void *(*run)(void *), void *argument) {
    const size_t least = (size_t)PTHREAD_STACK_MIN;
    const size_t size = least > STACK_SIZE ? least : STACK_SIZE;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return errno;
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_attr_setstack(&attributes, stack, size);
    if (error == 0) error = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return error;
}
