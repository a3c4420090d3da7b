/* Inside the watchdog: what its parts share. */
#ifndef GUARD_H
#define GUARD_H

#include "devices.h"

#include <stdbool.h>
#include <sys/types.h>

/* The state of one guarding process, the watchdog or its second. Written before the threads start. */
struct guard {
    struct page *page;
    uint32_t slot_count;
    bool is_second;
    pid_t holder_pid;
    int holder_pidfd;         /* readable once the command line is dead */
    int partner_fd;           /* socketpair to the other guard; EOF once it is dead */
    int done_fd;              /* eventfd: a worker finished something */
    int timer_fd;
    int signal_fd;
    int listen_fd;            /* control socket, -1 without */
    int dm_fd;                /* /dev/mapper/control, -1 without devices */
    char control_path[108];
    uint32_t warnings;        /* bits of enum warning */
    pid_t watchdog_pid;
    pid_t second_pid;
    _Atomic bool holder_dead; /* proven by the pidfd: none of its calls is in flight any more */
    _Atomic bool partner_dead;
    bool holder_left;         /* dead, or hung up, or has quit: nobody will reset or thaw */
    bool detached;            /* nobody needs to: the watchdog owns the freeze */
};

extern struct guard guard;

/* clock.c */
/* Empties an event descriptor that does not block. */
void drain(int fd);

/* workers.c: one thread for each slot, made before anything is frozen. */
int workers_start(void);
/* Queues a thaw. `loss` is why nobody asked for it, or LOSS_NONE. Returns at once; done_fd tells the end. */
void worker_thaw(uint32_t slot, enum loss loss);
/* Queues a proof that the slot is still frozen; a slot that is not becomes THAWED with LOSS_THIRD_PARTY. */
void worker_probe(uint32_t slot);
bool worker_busy(uint32_t slot);
/* Thaws all slots, the lowest filesystem (the last slot) first, and resumes what is left suspended below them. */
void thaw_all(enum loss loss);
/* The holder is dead or has hung up: thaws all, unless the watchdog owns the freeze. Idempotent. */
void holder_gone(void);
/* Nothing of this slot is or can become frozen. */
bool slot_ended(uint32_t slot);
/* Every slot has ended, and its record says so; no device is suspended. */
bool all_ended(void);
/* A probe of the watchdog may freeze what has ended, or has frozen it. */
bool probes_pending(void);
/* In the second, once the watchdog is dead and all has ended: thaws what such a probe froze. */
void probes_undo(void);

/* threads.c: starts a thread on a small stack of its own. 0 or an errno. */
int thread_start(void *(*run)(void *), void *argument);

/* watch.c: the devices, and the thread that sees to them. */
int watch_start(void);
/* Sees to it that none stays suspended, see devices_settle. Returns at once; done_fd tells the end. */
void watch_settle(enum loss loss);
/* None is suspended, or what is cannot be helped now: whoever asked can be answered. */
bool watch_settled(void);
/* None is suspended or can become so. True without devices. */
bool watch_ended(void);

/* deadlines.c */
/* Sets the timer to the next moment at which a deadline may pass. */
void deadlines_schedule(void);
/* Thaws every slot whose deadline has passed. */
void deadlines_enforce(void);
/* The reset of one slot that is held: its deadline becomes now + timeout, under the cap. */
void deadline_reset(uint32_t slot, uint64_t timeout_ns);
/* The same for the devices, while programs may suspend them. */
void deadline_reset_watch(uint64_t timeout_ns);

/* record.c */
/* Writes how a slot ended. */
void record_write(uint32_t slot);
/* At the guards' end: the records of the slots whose FIFREEZE failed. An "armed" that nobody guards is `recover`'s to thaw. */
void record_failures(void);

/* survive.c: what keeps a guard alive. The first returns 0 or an errno, the others 0 or a bit of `enum warning`. */
int survive_signals(void);
uint32_t survive_memory(void);
uint32_t survive_oom(void);
void survive_limits(void);
/* As many files as a guard may ever have open. */
void survive_files(void);
/* Before the next try of what fails at once: a guard that never sleeps would keep a processor from all others. */
#define PAUSE_MS 100
/* After a poll(2) that failed, and so found nothing to read: a pause. What is due can be looked for all the same. */
void survive_no_poll(void);
void survive_name(char **argv, const char *name);

/* cgroup.c */
uint32_t cgroup_enter(void);
/* Leaves and removes what cgroup_enter made. */
void cgroup_leave(void);

/* start.c: from the first frame to two guards ready to watch. Does not return on failure. */
void start_guards(char **argv);
/* Makes the threads, the timer and the locks on memory of one guard. 0 or an errno. */
int guard_ready(void);

/* expedite.c */
/* Makes the FIFREEZE that follows as short as the kernel can. Best effort. */
void expedite_begin(void);
/* Once nothing is to be frozen any more. Idempotent. */
void expedite_end(void);
/* Once nothing is frozen any more. */
void expedite_forget(void);

/* second.c */
_Noreturn void second_main(void);

/* requests.c: the holder's connection and those to the control socket. */
#define MAX_CONNECTIONS 5u
#define HOLDER_CONNECTION 0u
/* Adopts the holder's socket, whose FRAME_ARM was read and answered. */
void connections_start(uint32_t next_sequence);
/* What to poll; -1 while there is nothing to read: one request at a time, the next stays in the socket. */
int connection_fd(unsigned connection);
/* Reads what has come; answers or queues it. Closes the connection on end of file or nonsense. */
void connection_read(unsigned connection);
/* False when it cannot be accepted now: whoever polls must pause, since it stays there to be read. */
bool connection_accept(void);
/* Answers each request whose slots the workers are done with, and tells the holder of new losses. */
void connections_answer(void);
void connections_close(void);

/* frames.c */
/* Fills a reply or event with what the page says. */
void frame_describe(struct frame *frame);
bool frame_valid(const struct frame *frame);
/* The first frame, which says how many slots there are. */
bool frame_valid_arm(const struct frame *frame);
/* Sends without waiting; false when the peer is gone or does not read. */
bool frame_send(int fd, const struct frame *frame);

/* link.c: the two guards talk in single bytes. */
enum link_word { LINK_READY = 'r', LINK_RESCHEDULE = 's', LINK_DETACH = 'd', LINK_DETACHED = 'D', LINK_QUIT = 'q' };
void link_send(enum link_word word);

#endif
