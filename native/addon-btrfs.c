/* What btrfs says of a subvolume, by a descriptor: `btrfs subvolume show` finds it by a name, which may lead elsewhere by then. */
#include "addon.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* As 36 characters; left out where all bits are 0: it has none. */
static napi_status set_uuid(napi_env env, napi_value object, const char *name, const uint8_t *uuid) {
    static const uint8_t none[BTRFS_UUID_SIZE];
    char text[2 * BTRFS_UUID_SIZE + 5], *at = text;
    napi_value value;
    if (memcmp(uuid, none, sizeof none) == 0) return napi_ok;
    for (int i = 0; i < BTRFS_UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        *at++ = "0123456789abcdef"[uuid[i] >> 4];
        *at++ = "0123456789abcdef"[uuid[i] & 15];
    }
    napi_status made = napi_create_string_latin1(env, text, (size_t)(at - text), &value);
    return made == napi_ok ? napi_set_named_property(env, object, name, value) : made;
}

/* Seconds since 1970 with their fraction, as find(1) reads them; left out where there was no such transaction. */
static napi_status set_time(napi_env env, napi_value object, const char *name, uint64_t transaction,
                            const struct btrfs_ioctl_timespec *time) {
    char text[40];
    napi_value value;
    if (transaction == 0) return napi_ok;
    snprintf(text, sizeof text, "%llu.%09u", (unsigned long long)time->sec, time->nsec);
    napi_status status = napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    return status == napi_ok ? napi_set_named_property(env, object, name, value) : status;
}

/* btrfsSubvolume(fd): the one that the file of `fd` lies in (BTRFS_IOC_GET_SUBVOL_INFO, Linux 4.18). */
napi_value btrfs_subvolume(napi_env env, napi_callback_info info) {
    struct btrfs_ioctl_get_subvol_info_args subvolume;
    napi_value result, read_only;
    int32_t fd;
    if (!read_ints(env, info, 1, &fd)) return NULL;
    memset(&subvolume, 0, sizeof subvolume);
    /* It returns 1, the last search's result, for a subvolume that lies in another. */
    if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &subvolume) < 0)
        return throw_errno(env, errno, "ioctl(BTRFS_IOC_GET_SUBVOL_INFO)");
    CHECK(napi_create_object(env, &result));
    CHECK(set_uuid(env, result, "uuid", subvolume.uuid));
    CHECK(set_uuid(env, result, "parentUuid", subvolume.parent_uuid));
    CHECK(set_uuid(env, result, "receivedUuid", subvolume.received_uuid));
    CHECK(set_number(env, result, "generation", (double)subvolume.generation));
    CHECK(set_number(env, result, "lastChange", (double)subvolume.ctransid));
    CHECK(set_time(env, result, "receivedAt", subvolume.rtransid, &subvolume.rtime));
    CHECK(napi_get_boolean(env, (subvolume.flags & BTRFS_ROOT_SUBVOL_RDONLY) != 0, &read_only));
    CHECK(napi_set_named_property(env, result, "isReadOnly", read_only));
    return result;
}
