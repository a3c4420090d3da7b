/*
 * Plays device-mapper to native/dm.c, which is compiled with -Dioctl=harness_ioctl. Arguments: WHAT MAJOR MINOR STATE [FAILS
 * ERRNO]. WHAT: `is-suspended` or `resume`. STATE: letters of what the kernel says of the device, S suspended, A it has a
 * table in use. FAILS: the request that fails with ERRNO.
 * Prints each request with the device that it names and `suspend` where that is asked for, then `RESULT SUSPENDED`.
 */
#undef ioctl

#include "devices.h"

#include <errno.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

static const char *state;
static const char *fails = "";
static int failure;

static const char *name_of(unsigned long request) {
    switch (request) {
    case DM_DEV_STATUS: return "status";
    case DM_TABLE_CLEAR: return "clear";
    case DM_DEV_SUSPEND: return "resume";
    default: return "other";
    }
}

int harness_ioctl(int fd, unsigned long request, ...) {
    (void)fd;
    va_list arguments;
    va_start(arguments, request);
    struct dm_ioctl *header = va_arg(arguments, struct dm_ioctl *);
    va_end(arguments);
    const char *name = name_of(request);
    printf("%s %u:%u%s\n", name, major(header->dev), minor(header->dev), header->flags & DM_SUSPEND_FLAG ? " suspend" : "");
    if (header->version[0] != 4 || header->data_size < sizeof *header) {
        errno = EINVAL;
        return -1;
    }
    if (strcmp(name, fails) == 0) {
        errno = failure;
        return -1;
    }
    /* The kernel answers in place. */
    header->flags = 0;
    if (strchr(state, 'S') != NULL) header->flags |= DM_SUSPEND_FLAG;
    if (strchr(state, 'A') != NULL) header->flags |= DM_ACTIVE_PRESENT_FLAG;
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    struct device device = {.major_number = (uint32_t)atoi(argv[2]), .minor_number = (uint32_t)atoi(argv[3])};
    state = argv[4];
    if (argc > 6) {
        fails = argv[5];
        failure = atoi(argv[6]);
    }
    bool suspended = true;
    int result = strcmp(argv[1], "resume") == 0 ? dm_resume(-1, &device) : dm_is_suspended(-1, &device, &suspended);
    printf("%d %d\n", result, suspended);
    return 0;
}
