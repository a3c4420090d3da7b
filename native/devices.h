/*
 * Device-mapper devices that a snapshot command may leave suspended: what the guards and the addon share. Each of the
 * three processes can do all of it by itself, and two of them at the same time do no harm.
 */
#ifndef DEVICES_H
#define DEVICES_H

#include "protocol.h"

#include <stdbool.h>

/* clock.c */
uint64_t boottime_ns(void);
void sleep_ms(long milliseconds);
void sleep_us(long microseconds);

/* dm.c: `control` is an open /dev/mapper/control. Each returns 0 or an errno. */
int dm_is_suspended(int control, const struct device *device, bool *suspended);
/* With the table that it had when it was suspended. */
int dm_resume(int control, const struct device *device);

/* commands.c: the programs in the page. */
/* One runs, and is no zombie. */
bool commands_living(const struct page *page);
/* One was about to be started when it was last heard of. */
bool commands_starting(const struct page *page);
/* SIGKILL to the process group of each. */
void commands_kill(const struct page *page);

/*
 * settle.c: sees to it that no device stays suspended. The programs get some time to end by themselves, unless the
 * deadline has passed; then they are killed, and what is suspended is resumed, the lowest first. Returns the state of
 * the watch, which is also in the page: ENDED, or LINGERING or STUCK, after which it is to be called again. `loss` is
 * why nobody asked for it, or LOSS_NONE.
 */
enum watch_state devices_settle(struct page *page, int control, enum loss loss);

#endif
