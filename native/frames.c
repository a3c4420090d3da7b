#include "guard.h"

#include <string.h>
#include <sys/socket.h>

void frame_describe(struct frame *frame) {
    frame->magic = FRAME_MAGIC;
    frame->version = PROTOCOL_VERSION;
    frame->slot_count = guard.slot_count;
    frame->warnings = guard.warnings;
    frame->max_hold_ns = guard.page->max_hold_ns;
    frame->watchdog_pid = guard.watchdog_pid;
    frame->second_pid = guard.second_pid;
    frame->now_ns = boottime_ns();
    for (uint32_t i = 0; i < guard.slot_count; i++) {
        const struct slot *slot = &guard.page->slots[i];
        frame->slots[i] = (struct slot_report){
            .state = atomic_load(&slot->state),
            .loss = atomic_load(&slot->loss),
            .freeze_errno = atomic_load(&slot->freeze_errno),
            .thaw_errno = atomic_load(&slot->thaw_errno),
            .call_ns = atomic_load(&slot->call_ns),
            .held_ns = atomic_load(&slot->held_ns),
            .thaw_begin_ns = atomic_load(&slot->thaw_begin_ns),
            .thawed_ns = atomic_load(&slot->thawed_ns),
            .deadline_ns = atomic_load(&slot->deadline_ns),
        };
    }
}

bool frame_valid(const struct frame *frame) {
    return frame->magic == FRAME_MAGIC && frame->version == PROTOCOL_VERSION &&
           (frame->slot == ALL_SLOTS || frame->slot < guard.slot_count);
}

bool frame_valid_arm(const struct frame *frame) {
    return frame->magic == FRAME_MAGIC && frame->version == PROTOCOL_VERSION && frame->type == FRAME_ARM &&
           frame->sequence == 1 && frame->slot_count <= MAX_SLOTS &&
           memchr(frame->control_path, '\0', sizeof frame->control_path) != NULL;
}

bool frame_send(int fd, const struct frame *frame) {
    return send(fd, frame, sizeof *frame, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof *frame;
}
