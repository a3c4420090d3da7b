/*
 * What the command line, the watchdog and its second share: the page and the frames. Both sides include this header;
 * src/freeze/protocol.ts mirrors it and a test compares the offsets. Explained in docs/watchdog-protocol.md.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION 4u
#define PAGE_MAGIC 0x47504246u  /* "FBPG" */
#define FRAME_MAGIC 0x52464246u /* "FBFR" */

/* Filesystems in one set. */
#define MAX_SLOTS 32u
#define ALL_SLOTS UINT32_MAX
/*
 * Device-mapper devices below them and, where an origin has snapshots, two for each of these; and programs that may
 * suspend them at one time.
 */
#define MAX_DEVICES 128u
#define MAX_COMMANDS 32u

/*
 * The watchdog's inherited descriptors: socket, page, the file that says who turned on expedited grace periods, then one
 * mountpoint and one record for each slot, then, where there are devices, /dev/mapper/control.
 */
#define FD_SOCKET 3
#define FD_PAGE 4
#define FD_EXPEDITE 5
#define FD_FIRST_SLOT 6

/*
 * A filesystem's state, in the shared page. The thread that calls FIFREEZE publishes CALLING before and HELD or FAILED
 * after the call, so a reader knows what to thaw whenever the caller dies.
 */
enum slot_state {
    SLOT_IDLE = 0,
    SLOT_CALLING = 1, /* FIFREEZE in flight, or its caller died in it: perhaps frozen */
    SLOT_HELD = 2,
    SLOT_FAILED = 3,  /* FIFREEZE failed, see freeze_errno: not ours to thaw */
    SLOT_THAWING = 4, /* claimed by one process, which calls FITHAW */
    SLOT_THAWED = 5,  /* the end: thawed, found thawed, or cancelled before it was frozen */
    SLOT_PROBING = 6, /* the watchdog's own FIFREEZE probe in flight: perhaps frozen */
    SLOT_STUCK = 7,   /* FITHAW keeps failing, see thaw_errno; tried again a second later, for ever */
};

/* Why a freeze ended before it was asked to. */
enum loss {
    LOSS_NONE = 0,
    LOSS_TIMEOUT = 1,
    LOSS_MAX_HOLD = 2,
    LOSS_HOLDER_DIED = 3,
    LOSS_THIRD_PARTY = 4,
    LOSS_GUARD_DIED = 5,
    LOSS_SIGNAL = 6,
    LOSS_LEFT_SUSPENDED = 7, /* of devices: the command that suspended one was gone */
};

/* One filesystem in the page. Times are CLOCK_BOOTTIME in nanoseconds; 0 is "not yet". */
struct slot {
    _Atomic uint32_t state;
    _Atomic uint32_t loss;
    _Atomic int32_t freeze_errno;
    _Atomic int32_t thaw_errno;
    _Atomic uint64_t call_ns;       /* FIFREEZE entered */
    _Atomic uint64_t held_ns;       /* FIFREEZE returned */
    _Atomic uint64_t thaw_begin_ns; /* FITHAW entered */
    _Atomic uint64_t thawed_ns;     /* FITHAW returned */
    _Atomic uint64_t deadline_ns;   /* thawed then, unless reset before */
    _Atomic uint64_t timeout_ns;    /* N when the page was made; 0: none, the cap alone */
};

/* A device-mapper device that was not suspended when the page was made. */
struct device {
    uint32_t major_number;
    uint32_t minor_number;
    _Atomic uint32_t resumed;            /* it was left suspended, and one of us resumed it */
    _Atomic int32_t error;               /* of the last look at it, or try to resume it, that failed */
    _Atomic uint64_t resumed_ns;         /* when */
    _Atomic uint64_t first_suspended_ns; /* the command line's measurement: first seen suspended */
    _Atomic uint64_t suspended_ns;       /* and for how long in all, as an upper bound */
};

/* Of the devices together. */
enum watch_state {
    WATCH_IDLE = 0,
    WATCH_OPEN = 1,      /* programs may suspend them until the deadline */
    WATCH_ENDED = 2,     /* none is suspended, and none of the programs is left */
    WATCH_LINGERING = 3, /* none is suspended, but a program that was killed is still in the kernel */
    WATCH_STUCK = 4,     /* one cannot be looked at or resumed, see its error; tried again each second, for ever */
};

/* In `commands`: free, or a program is being started; else the process group of one that runs. */
#define COMMAND_NONE 0
#define COMMAND_STARTING (-1)

struct page {
    uint32_t magic;
    uint32_t version;
    uint32_t slot_count;
    uint32_t device_count;
    uint64_t max_hold_ns;
    struct slot slots[MAX_SLOTS];
    struct device devices[MAX_DEVICES]; /* the upper before the lower */
    _Atomic int32_t commands[MAX_COMMANDS];
    _Atomic uint32_t commands_begun; /* without any, a suspended device is somebody else's */
    _Atomic uint32_t watch_state;
    _Atomic uint32_t watch_loss;
    _Atomic uint32_t measuring;
    _Atomic uint64_t longest_gap_ns; /* between two looks of the measurement */
    _Atomic uint64_t watch_ns;       /* opened */
    _Atomic uint64_t watch_deadline_ns;
    _Atomic uint64_t watch_timeout_ns; /* as a slot's */
    /* A bit for each slot: the watchdog's FIFREEZE probe of it may still freeze, whatever its state says meanwhile. */
    _Atomic uint32_t probing;
    /* The same, where a FITHAW of ours ended what somebody else had frozen while our FIFREEZE was in flight. */
    _Atomic uint32_t ended_anothers;
    _Atomic int32_t callers[MAX_SLOTS]; /* the thread of the command line that calls FIFREEZE, as gettid(2); 0: none yet */
};

_Static_assert(sizeof(struct slot) == 64, "the mirror in protocol.ts counts on it");
_Static_assert(sizeof(struct device) == 40, "no padding");
_Static_assert(MAX_SLOTS <= 32, "a bit for each in `probing`");
_Static_assert(sizeof(struct page) <= 8192, "two pages of memory, both locked by each guard");

/* The first reason stays. Nothing for LOSS_NONE. */
static inline void note_loss(_Atomic uint32_t *loss, uint32_t why) {
    uint32_t none = LOSS_NONE;
    if (why != LOSS_NONE) atomic_compare_exchange_strong(loss, &none, why);
}

enum frame_type {
    FRAME_ARM = 1,    /* first on the socket: watch the slots of the page */
    FRAME_RESET = 2,  /* prove the hold, then deadline = now + timeout_ns; EINVAL when it was lost */
    FRAME_THAW = 3,
    FRAME_DETACH = 4, /* the watchdog becomes the owner; the sender may go */
    FRAME_STATUS = 5,
    FRAME_QUIT = 6,   /* thaw what is held and end */
    FRAME_EVENT = 7,  /* from the watchdog, sequence 0: something changed that nobody asked for */
};

/* What weakens the guarantee on this host, in `warnings`. */
enum warning {
    WARN_NO_CGROUP = 1u << 0,   /* shares a cgroup with others: dies with it */
    WARN_NO_MLOCK = 1u << 1,    /* can be paged out */
    WARN_NO_OOM = 1u << 2,      /* the OOM killer may choose it */
    WARN_SECOND_LOST = 1u << 3, /* the second watchdog is gone */
};

struct slot_report {
    uint32_t state;
    uint32_t loss;
    int32_t freeze_errno;
    int32_t thaw_errno;
    uint64_t call_ns;
    uint64_t held_ns;
    uint64_t thaw_begin_ns;
    uint64_t thawed_ns;
    uint64_t deadline_ns;
};

/*
 * Every message in both directions. Fixed size: the stream carries no lengths. A reply repeats type and sequence of its
 * request; requests of one connection count up from 1, and any other number ends the connection.
 */
struct frame {
    uint32_t magic;
    uint32_t version;
    uint32_t type;
    uint32_t sequence;
    uint32_t slot;  /* requests: one slot, or ALL_SLOTS */
    int32_t error;  /* replies: 0 or an errno */
    uint32_t slot_count;
    uint32_t warnings;
    uint64_t timeout_ns; /* FRAME_RESET */
    uint64_t max_hold_ns;
    int32_t watchdog_pid;
    int32_t second_pid;
    uint64_t now_ns;
    union {
        char control_path[108]; /* FRAME_ARM: where to listen, "" for nowhere; as sun_path */
        struct slot_report slots[MAX_SLOTS];
    };
};

_Static_assert(offsetof(struct frame, slots) == 64, "the mirror in protocol.ts counts on it");
_Static_assert(sizeof(struct slot_report) == 56, "the mirror in protocol.ts counts on it");
_Static_assert(sizeof(struct frame) == 64 + 56 * MAX_SLOTS, "no padding");

/*
 * A record is a file of one superblock in the run directory: a status line of RECORD_STATUS_SIZE bytes, overwritten in
 * place, then JSON. Its flock is held by whoever guards the freeze.
 */
#define RECORD_STATUS_SIZE 64

#endif
