/*
 * Takes a copy of every socket of a process and keeps it until it is killed, as a forgotten child would. Argument: its pid.
 * Says how many they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 1024

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    int process = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0);
    if (process < 0) return 1;
    unsigned kept = 0;
    for (int number = 3; number < MOST_DESCRIPTORS; number++) {
        struct stat status;
        int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
        if (fd < 0) continue;
        if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) kept++;
        else close(fd);
    }
    printf("%u\n", kept);
    fflush(stdout);
    for (;;) pause();
}
