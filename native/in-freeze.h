#ifndef IN_FREEZE_H
#define IN_FREEZE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether this thread waits inside FIFREEZE, so that it has frozen nothing yet. FITHAW could then but wait for the same lock,
 * and what it ends when it gets that may be the freeze of somebody else, which ours waits for. Only what is certain: false for
 * one that has left FIFREEZE and was stopped, or gets no processor, before it could say so, and where the kernel does not tell
 * (CONFIG_STACKTRACE, CAP_SYS_PTRACE), or there is no such thread. True is true for an instant only: ask again, each LOOK_MS, and take it for stopped only
 * after LAST_WORD_MS without: one that was just woken needs a moment to say what came of it.
 */
#define LOOK_MS 5
#define LAST_WORD_MS 50
bool waits_in_freeze(pid_t process, pid_t thread);

#endif
