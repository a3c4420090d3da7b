#include "guard.h"

#include <time.h>
#include <unistd.h>

/* BOOTTIME: a deadline also passes while the machine is suspended. */
uint64_t boottime_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

void sleep_ms(long milliseconds) {
    struct timespec span = {milliseconds / 1000, (milliseconds % 1000) * 1000000};
    while (nanosleep(&span, &span) != 0) {
    }
}

void sleep_us(long microseconds) {
    const struct timespec span = {microseconds / 1000000, (microseconds % 1000000) * 1000};
    nanosleep(&span, NULL);
}

void drain(int fd) {
    uint64_t count;
    while (read(fd, &count, sizeof count) == sizeof count) {
    }
}
