/* What is asked of device-mapper. A device is named by its number, which its mount or the device above it pins. */
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
    /*
     * One that has no live table is none that anybody's I/O waits for, and could not be resumed (EINVAL): a `-real` that a
     * killed lvcreate had created, or the next one had suspended. sysfs shows it below the origin already when only a table
     * that was loaded, and is not in use, leads there.
     */
    *suspended = (request.flags & DM_SUSPEND_FLAG) != 0 && (request.flags & DM_ACTIVE_PRESENT_FLAG) != 0;
    return 0;
}

/*
 * A resume puts a table that was loaded meanwhile in the place of the old one. That of a killed lvcreate leads to a device
 * (`-real`) which has no table of its own yet, and the filesystem above would get I/O errors: so it is dropped first. The
 * old one is what the filesystem ran on until now.
 */
int dm_resume(int control, const struct device *device) {
    struct dm_ioctl request = about(device);
    if (ioctl(control, DM_TABLE_CLEAR, &request) != 0) return errno;
    request = about(device);
    /* DM_DEV_SUSPEND without the flag is "resume". */
    return ioctl(control, DM_DEV_SUSPEND, &request) == 0 ? 0 : errno;
}
