/*
 * A load on one filesystem, that knows what it did: `load DIRECTORY [SLOWER]`, statically linked, one thread for each part.
 * It waits SLOWER times as long between what it does: on an emulated machine it would leave no time for anything else.
 *
 *   probe  rewrites a few bytes of one file every millisecond, and tells how long writers were held up
 *   log    appends numbered, checksummed records, fsyncs each, and acknowledges it
 *   churn  makes, replaces, renames and unlinks files whose content tells which version they are
 *
 * On stdin: `begin N` starts afresh in DIRECTORY/epoch-N and removes what was before; `rest` has all parts all but sleep,
 * which is how it starts; the end of file ends it.
 * On stdout, a line each, times in ns of CLOCK_MONOTONIC: `ready`, `began N`, `beat AT`, `stall BEGIN END`,
 * `ack N SEQUENCE AT`, `file N FILE VERSION BEGIN END` (version 0: unlinked).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 24
#define STALL_NS 20000000ull
#define BEAT_NS 50000000ull
#define MAX_BYTES 12000
/* How often a load at rest looks whether it is to work: those of other worlds rest for most of a campaign. */
#define REST_US 100000

static const char *directory;
static unsigned slower = 1;
static atomic_int wanted = 0;
static atomic_bool over = false;
static atomic_bool working = false;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void pause_us(long us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* One write(2) for each line: what was told counts, whatever becomes of this process. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) {
    char line[160];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&output);
    if (write(1, line, (size_t)length) < 0) _exit(1);
    pthread_mutex_unlock(&output);
}

static void fail(const char *what) {
    dprintf(2, "load: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* ENOSPC is a fault that the campaign makes, and an old epoch's directory goes away: the load goes on past both. */
static bool passing(int epoch) { return errno == ENOSPC || errno == EDQUOT || wanted != epoch; }

static uint32_t crc32_of(const unsigned char *bytes, size_t length) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

static void fill(char *bytes, size_t length, uint32_t seed) {
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes[i] = "0123456789abcdef"[state & 15];
    }
}

static void *probe(void *argument) {
    (void)argument;
    char path[512];
    snprintf(path, sizeof path, "%s/probe", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) fail(path);
    uint64_t beat = 0, begin = now_ns();
    while (!over) {
        bool was_working = working;
        if (pwrite(fd, &begin, sizeof begin, 0) != sizeof begin && !passing(wanted)) fail("probe");
        uint64_t end = now_ns();
        /* From write to write: also what the machine alone makes it wait, which is what the one beside it is for. */
        if (was_working && end - begin > STALL_NS + (slower - 1) * 1000000ull) tell("stall %" PRIu64 " %" PRIu64 "\n", begin, end);
        if (end - beat > BEAT_NS) tell("beat %" PRIu64 "\n", beat = end);
        pause_us(working ? 1000 * slower : REST_US);
        begin = was_working ? end : now_ns();
    }
    return NULL;
}

static void *append(void *argument) {
    (void)argument;
    char path[512], line[512];
    int epoch = 0, fd = -1;
    unsigned sequence = 0;
    while (!over) {
        int want = wanted;
        if (want != epoch) {
            if (fd >= 0) close(fd);
            snprintf(path, sizeof path, "%s/epoch-%d/log", directory, want);
            fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            if (fd < 0 && !passing(want)) fail(path);
            if (fd < 0) continue;
            epoch = want;
            sequence = 0;
        }
        if (epoch == 0 || !working) {
            pause_us(REST_US);
            continue;
        }
        int length = snprintf(line, 64, "%u %" PRIu64 " ", sequence + 1, now_ns());
        fill(line + length, 300, sequence + 1);
        length += 300;
        length += snprintf(line + length, 16, " %08x\n", crc32_of((unsigned char *)line, (size_t)length));
        off_t before = lseek(fd, 0, SEEK_END);
        if (write(fd, line, (size_t)length) != length || fsync(fd) != 0) {
            if (!passing(epoch) || ftruncate(fd, before) != 0) fail("log");
        } else {
            tell("ack %d %u %" PRIu64 "\n", epoch, ++sequence, now_ns());
        }
        pause_us(3000 * slower);
    }
    return NULL;
}

static void write_version(int epoch, unsigned file, unsigned version) {
    static char text[MAX_BYTES + 64];
    char temporary[512], name[512];
    snprintf(temporary, sizeof temporary, "%s/epoch-%d/new-%u", directory, epoch, file);
    snprintf(name, sizeof name, "%s/epoch-%d/file-%u", directory, epoch, file);
    uint64_t begin = now_ns();
    if (version % 7 == 6) {
        if (unlink(name) != 0 && errno != ENOENT && !passing(epoch)) fail(name);
        tell("file %d %u 0 %" PRIu64 " %" PRIu64 "\n", epoch, file, begin, now_ns());
        return;
    }
    size_t bytes = (version * 977u + file * 131u) % MAX_BYTES;
    int length = snprintf(text, 64, "%u %u %zu\n", file, version, bytes);
    fill(text + length, bytes, file * 100003u + version);
    length += (int)bytes;
    uint32_t crc = crc32_of((unsigned char *)text, (size_t)length);
    length += snprintf(text + length, 16, "\n%08x\n", crc);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (!written && !passing(epoch)) fail(temporary);
    if (fd >= 0) close(fd);
    if (!written || rename(temporary, name) != 0) return;
    tell("file %d %u %u %" PRIu64 " %" PRIu64 "\n", epoch, file, version, begin, now_ns());
}

static void *churn(void *argument) {
    (void)argument;
    int epoch = 0;
    unsigned turn = 0;
    while (!over) {
        int want = wanted;
        if (want != epoch) turn = 0;
        epoch = want;
        if (epoch != 0 && working) {
            write_version(epoch, turn * 7 % FILES, turn / FILES + 1);
            turn++;
        }
        pause_us(working ? 4000 * slower : REST_US);
    }
    return NULL;
}

/* The threads may still be at work in the old one for an instant: its directory is gone for them then, and that is theirs. */
static void begin_epoch(int epoch) {
    char path[512];
    snprintf(path, sizeof path, "%s/epoch-%d", directory, epoch);
    if (mkdir(path, 0700) != 0) fail(path);
    int before = wanted;
    wanted = epoch;
    tell("began %d\n", epoch);
    if (before == 0) return;
    /* Long enough that both threads have moved on, unless they are frozen, and then so are we. */
    pause_us(50000);
    for (unsigned file = 0; file < FILES; file++) {
        snprintf(path, sizeof path, "%s/epoch-%d/file-%u", directory, before, file);
        unlink(path);
        snprintf(path, sizeof path, "%s/epoch-%d/new-%u", directory, before, file);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/epoch-%d/log", directory, before);
    unlink(path);
    snprintf(path, sizeof path, "%s/epoch-%d", directory, before);
    rmdir(path);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) return 2;
    directory = argv[1];
    if (argc == 3) slower = (unsigned)atoi(argv[2]);
    if (slower == 0 || slower > 1000) return 2;
    mlockall(MCL_CURRENT | MCL_FUTURE);
    pthread_t threads[3];
    void *(*const parts[3])(void *) = {probe, append, churn};
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, parts[i], NULL) != 0) fail("threads");
    tell("ready\n");
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        int epoch;
        if (sscanf(line, "begin %d", &epoch) == 1) begin_epoch(epoch);
        working = line[0] == 'b';
    }
    over = true;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    return 0;
}
