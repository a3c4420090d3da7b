/*
 * FIFREEZE waits for several RCU grace periods (a percpu_down_write for each of the three levels of freeze_super), two of
 * them with the writers blocked already: some 40 ms on an idle machine. Expedited grace periods take a tenth of a
 * millisecond, so the kernel's switch for them is on while we freeze, and only then.
 *
 * The switch is the machine's. The file of FD_EXPEDITE says whose it is: the boot id in it, "turned on by us"; a shared
 * flock on it, "in use". Whoever is last turns it off. Should every process of ours be killed at once, it stays on, which
 * costs some interrupts, until the next freeze finds the boot id and turns it off at its end.
 */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SWITCH "/sys/kernel/rcu_expedited"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SIZE 36

static bool in_use;
static bool turned_off;

static bool read_file(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool complete = read(fd, text, size) == (ssize_t)size;
    close(fd);
    return complete;
}

static bool turn(char value) {
    int fd = open(SWITCH, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool done = write(fd, &value, 1) == 1;
    close(fd);
    return done;
}

void expedite_begin(void) {
    char value, boot_id[BOOT_ID_SIZE], owner[BOOT_ID_SIZE] = {0};
    if (!read_file(SWITCH, &value, 1) || !read_file(BOOT_ID, boot_id, sizeof boot_id)) return;
    if (flock(FD_EXPEDITE, LOCK_SH | LOCK_NB) != 0) return;
    /* Intent before effect: it must not be on without our name beside it. */
    if (value == '0') in_use = pwrite(FD_EXPEDITE, boot_id, sizeof boot_id, 0) == BOOT_ID_SIZE && turn('1');
    else in_use = pread(FD_EXPEDITE, owner, sizeof owner, 0) == BOOT_ID_SIZE && memcmp(owner, boot_id, sizeof owner) == 0;
    if (!in_use) flock(FD_EXPEDITE, LOCK_UN);
}

void expedite_end(void) {
    if (!in_use) return;
    in_use = false;
    /* Refused while another freeze of ours needs it: that one turns it off. */
    if (flock(FD_EXPEDITE, LOCK_EX | LOCK_NB) == 0) turned_off = turn('0');
    flock(FD_EXPEDITE, LOCK_UN);
}

/* Not together with the switch: the file may lie on what is frozen, where a write would stop us until the thaw. */
void expedite_forget(void) {
    expedite_end();
    if (!turned_off || flock(FD_EXPEDITE, LOCK_EX | LOCK_NB) != 0) return;
    turned_off = ftruncate(FD_EXPEDITE, 0) != 0;
    flock(FD_EXPEDITE, LOCK_UN);
}
