/*
 * Asks at a watchdog's control socket in ways that Node has not. Arguments: HOW PATH; the request comes by standard input.
 *   with-descriptors      the request carries 100 descriptors
 *   strangers-connection  another user connects, and hands the connection to root, who asks
 * Prints how many bytes came back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESCRIPTORS 100
#define STRANGER 65534

static void require(int condition, const char *what) {
    if (condition) return;
    perror(what);
    exit(1);
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    require(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    return fd;
}

static ssize_t send_with(int fd, const void *bytes, size_t size, const int *descriptors, unsigned count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
    } control = {0};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), descriptors, sizeof(int) * count);
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* A connection that another user made. */
static int strangers_connection(const char *path) {
    int pair[2];
    require(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        require(setgid(STRANGER) == 0 && setuid(STRANGER) == 0, "setuid");
        int fd = connect_to(path);
        require(send_with(pair[1], "x", 1, &fd, 1) == 1, "sendmsg");
        _exit(0);
    }
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    require(recvmsg(pair[0], &message, 0) == 1, "recvmsg");
    waitpid(child, NULL, 0);
    int fd;
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}

int main(int argc, char **argv) {
    static char request[65536], reply[65536];
    if (argc != 3) return 2;
    ssize_t size = read(STDIN_FILENO, request, sizeof request);
    require(size > 0, "read");
    int fd;
    if (strcmp(argv[1], "with-descriptors") == 0) {
        int descriptors[DESCRIPTORS] = {0};
        fd = connect_to(argv[2]);
        require(send_with(fd, request, (size_t)size, descriptors, DESCRIPTORS) == size, "sendmsg");
    } else {
        fd = strangers_connection(argv[2]);
        (void)!send(fd, request, (size_t)size, MSG_NOSIGNAL);
    }
    size_t received = 0;
    for (ssize_t count; received < (size_t)size && (count = read(fd, reply, sizeof reply)) > 0;) received += (size_t)count;
    printf("%zu\n", received);
    return 0;
}
