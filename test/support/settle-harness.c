/*
 * Settles devices that are played, to see what native/settle.c does and in which order. Arguments: how each device is
 * (S suspended, R running, B broken: it cannot be resumed, G gone, F it cannot be looked at), the loss, the milliseconds until the deadline, then the
 * process groups of the programs, 0 for one that is being started, -1 for one that has ended.
 *
 * HARNESS_SELF_MS: the devices go on by themselves after so long. HARNESS_IMMORTAL: SIGKILL does nothing. HARNESS_ENDS_MS:
 * another process finds the end after so long. HARNESS_STATE: the number of the state in which it begins; else it is open.
 * Time is counted in sleeps, so that a machine that is slow or busy changes no result.
 * Prints `resume N living|gone` for each resume, then `STATE LOSS MILLISECONDS` and for each device
 * `RESUMED/ERRNO/WHEN`, the last in milliseconds.
 */
/* Compiled with -Dkill=harness_kill, which is for commands.c. */
#undef kill

#include "devices.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct page page;
static char states[MAX_DEVICES + 1];
static uint64_t begun_ns;

/* The machine runs for a while already. */
static uint64_t now_ns = 3600ull * 1000 * 1000 * 1000;

uint64_t boottime_ns(void) { return now_ns; }

/* Programs need some time of the machine's to end. */
void sleep_ms(long milliseconds) {
    now_ns += (uint64_t)milliseconds * 1000000;
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
    const char *ends = getenv("HARNESS_ENDS_MS");
    if (ends != NULL && (now_ns - begun_ns) / 1000000 >= strtoull(ends, NULL, 10)) atomic_store(&page.watch_state, WATCH_ENDED);
}

static uint64_t elapsed_ms(void) { return (boottime_ns() - begun_ns) / 1000000; }

int dm_is_suspended(int control, const struct device *device, bool *suspended) {
    (void)control;
    const char *self = getenv("HARNESS_SELF_MS");
    if (self != NULL && elapsed_ms() >= strtoull(self, NULL, 10)) memset(states, 'R', page.device_count);
    const char device_state = states[device - page.devices];
    *suspended = strchr("SB", device_state) != NULL;
    return device_state == 'G' ? ENXIO : device_state == 'F' ? EIO : 0;
}

int dm_resume(int control, const struct device *device) {
    (void)control;
    long index = device - page.devices;
    if (states[index] == 'B') return EINVAL;
    states[index] = 'R';
    printf("resume %ld %s\n", index, commands_living(&page) ? "living" : "gone");
    return 0;
}

/* commands.c calls this for kill(2). */
int harness_kill(pid_t pid, int number) {
    if (number == SIGKILL && getenv("HARNESS_IMMORTAL") != NULL) return 0;
    return kill(pid, number);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    strncpy(states, argv[1], MAX_DEVICES);
    begun_ns = boottime_ns();
    page.device_count = (uint32_t)strlen(states);
    const char *first = getenv("HARNESS_STATE");
    atomic_store(&page.watch_state, first == NULL ? WATCH_OPEN : (uint32_t)atoi(first));
    atomic_store(&page.watch_deadline_ns, begun_ns + strtoull(argv[3], NULL, 10) * 1000000);
    for (int i = 4; i < argc; i++) {
        int32_t group = atoi(argv[i]);
        atomic_store(&page.commands_begun, 1);
        if (group >= 0) atomic_store(&page.commands[i - 4], group == 0 ? COMMAND_STARTING : group);
    }
    enum watch_state state = devices_settle(&page, -1, (enum loss)atoi(argv[2]));
    printf("%d %u %llu", state, atomic_load(&page.watch_loss), (unsigned long long)elapsed_ms());
    for (uint32_t i = 0; i < page.device_count; i++) {
        const struct device *device = &page.devices[i];
        uint64_t resumed_ms = device->resumed_ns == 0 ? 0 : (device->resumed_ns - begun_ns) / 1000000;
        printf(" %u/%d/%llu", atomic_load(&device->resumed), atomic_load(&device->error), (unsigned long long)resumed_ms);
    }
    printf("\n");
    return 0;
}
