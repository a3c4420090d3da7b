/*
 * Boundaries at which a process may die, stop or fail. They do nothing: a build for tests names the header that acts
 * (test/support/fault-build), and what is installed holds no code that could. The names are found in the sources, so
 * each is a literal (docs/reliability.md).
 */
#ifndef FAULT_POINT_H
#define FAULT_POINT_H

#ifdef FAULT_POINTS
#include FAULT_POINTS
#else
/* A boundary behind which nothing can fail: kill, stop or delay. */
#define FAULT_POINT(name) ((void)0)
/* A system call that is about to be made: an errno instead of it, 0 to make it. */
#define FAULT_ERRNO(name) 0
#endif

#endif
