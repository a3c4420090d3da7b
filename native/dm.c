/* The two questions to device-mapper. A device is named by its number, which its mount or the device above it pins. */
#include "devices.h"

#include <errno.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

static struct dm_ioctl about(const struct device *device) {
    return (struct dm_ioctl){
        /* The oldest that has all that is used here. */
        .version = {4, 0, 0},
        .data_size = sizeof(struct dm_ioctl),
        .dev = makedev(device->major_number, device->minor_number),
    };
}

int dm_is_suspended(int control, const struct device *device, bool *suspended) {
    struct dm_ioctl request = about(device);
    *suspended = false;
    if (ioctl(control, DM_DEV_STATUS, &request) != 0) return errno;
    *suspended = (request.flags & DM_SUSPEND_FLAG) != 0;
    return 0;
}

/* DM_DEV_SUSPEND without the flag is "resume". */
int dm_resume(int control, const struct device *device) {
    struct dm_ioctl request = about(device);
    return ioctl(control, DM_DEV_SUSPEND, &request) == 0 ? 0 : errno;
}
