#ifndef IN_FREEZE_H
#define IN_FREEZE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether this thread waits inside FIFREEZE, so that it has frozen nothing yet. FITHAW could then but wait for the same lock,
 * and what it ends when it gets that may be the freeze of somebody else, which ours waits for. Only what is certain: false for
 * one that has left FIFREEZE and was stopped, or gets no processor, before it could say so, and where the kernel does not tell
 * (CONFIG_STACKTRACE, CAP_SYS_PTRACE). True is true for an instant only: ask again.
 */
bool waits_in_freeze(pid_t process, pid_t thread);

#endif
