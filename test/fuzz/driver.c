/*
 * Runs `LLVMFuzzerTestOneInput` of another file for a while, on inputs mutated from a corpus and from whatever reached
 * code that none before it did: libFuzzer's work, by gcc's -fsanitize-coverage=trace-pc, since a host that can build
 * fsbackup has no clang as a rule. With clang, the other file needs no driver: -fsanitize=fuzzer.
 *
 * Arguments: SECONDS SEED CRASH CORPUS…; 0 seconds: the corpus alone. An input that ends the program is left in the file CRASH.
 * Prints `RUNS EDGES KEPT`: how many inputs were run, how many places of the code were seen, how many inputs were kept.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);

#define INPUT_BYTES 8192
#define MAX_KEPT 4096
#define PLACES 65536

struct input {
    size_t size;
    uint8_t bytes[INPUT_BYTES];
};

static struct input *kept[MAX_KEPT];
static unsigned kept_count;
static struct input current;
static const char *crash_file;
static uint8_t seen[PLACES];
static unsigned seen_count;
static bool news;
static uint64_t state;

/* Called by instrumented code at each edge; this file is not instrumented. */
void __sanitizer_cov_trace_pc(void) {
    /* The instruction after the call; of a program that may lie anywhere, the low bits tell places apart as well. */
    size_t place = (size_t)__builtin_return_address(0) % PLACES;
    if (seen[place]) return;
    seen[place] = 1;
    seen_count++;
    news = true;
}

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t below(size_t limit) { return limit == 0 ? 0 : (size_t)(next_random() % limit); }

static void on_crash(int number) {
    int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0) (void)!write(fd, current.bytes, current.size);
    signal(number, SIG_DFL);
    raise(number);
}

static void keep(const struct input *input) {
    if (kept_count == MAX_KEPT) return;
    struct input *copy = malloc(sizeof *copy);
    if (copy == NULL) abort();
    memcpy(copy, input, sizeof *copy);
    kept[kept_count++] = copy;
}

static void run(void) {
    news = false;
    LLVMFuzzerTestOneInput(current.bytes, current.size);
    if (news) keep(&current);
}

static void load(const char *directory) {
    DIR *entries = opendir(directory);
    if (entries == NULL) {
        perror(directory);
        exit(2);
    }
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        int fd = entry->d_name[0] == '.' ? -1 : openat(dirfd(entries), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        ssize_t size = read(fd, current.bytes, sizeof current.bytes);
        close(fd);
        if (size < 0) continue;
        current.size = (size_t)size;
        run();
        keep(&current);
    }
    closedir(entries);
}

static void insert(size_t at, const uint8_t *bytes, size_t size) {
    if (current.size + size > INPUT_BYTES) return;
    memmove(current.bytes + at + size, current.bytes + at, current.size - at);
    memcpy(current.bytes + at, bytes, size);
    current.size += size;
}

static void mutate_once(void) {
    static const uint32_t telling[] = {0, 1, 2, 31, 32, 33, 127, 128, 255, INT32_MAX, (uint32_t)INT32_MIN, UINT32_MAX};
    size_t at = below(current.size);
    uint8_t byte = (uint8_t)next_random();
    switch (below(7)) {
    case 0:
        if (current.size > 0) current.bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        if (current.size > 0) current.bytes[at] = byte;
        break;
    case 2: insert(below(current.size + 1), &byte, 1); break;
    case 3: {
        size_t size = 1 + below(current.size < 64 ? current.size : 64);
        if (at + size > current.size) break;
        memmove(current.bytes + at, current.bytes + at + size, current.size - at - size);
        current.size -= size;
        break;
    }
    case 4: {
        uint32_t value = telling[below(sizeof telling / sizeof telling[0])];
        if (at + sizeof value <= current.size) memcpy(current.bytes + at, &value, sizeof value);
        break;
    }
    case 5: {
        const struct input *other = kept[below(kept_count)];
        size_t from = below(other->size);
        uint8_t piece[256];
        size_t size = below(other->size - from < sizeof piece ? other->size - from + 1 : sizeof piece);
        memcpy(piece, other->bytes + from, size);
        insert(below(current.size + 1), piece, size);
        break;
    }
    default: {
        uint8_t piece[64];
        size_t size = below(current.size - at < sizeof piece ? current.size - at + 1 : sizeof piece);
        memcpy(piece, current.bytes + at, size);
        insert(at, piece, size);
    }
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    double until = now() + atof(argv[1]);
    state = strtoull(argv[2], NULL, 10) * 2654435769u + 1;
    crash_file = argv[3];
    signal(SIGABRT, on_crash);
    for (int i = 4; i < argc; i++) load(argv[i]);
    if (kept_count == 0) keep(&current);
    uint64_t runs = kept_count;
    for (; now() < until; runs++) {
        memcpy(&current, kept[below(kept_count)], sizeof current);
        for (size_t times = 1 + below(6); times > 0; times--) mutate_once();
        run();
    }
    printf("%" PRIu64 " %u %u\n", runs, seen_count, kept_count);
    for (unsigned i = 0; i < kept_count; i++) free(kept[i]);
    return 0;
}
