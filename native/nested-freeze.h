/* Inside the self-test of nested freezes: what its parts share. All of them end the process on failure. */
#ifndef NESTED_FREEZE_H
#define NESTED_FREEZE_H

/* Ends the process with a line that says which step failed, by errno. Descriptors undo the rest. */
_Noreturn void fail(const char *step);

/* private-disk.c: a block device that ends with the process. */
struct private_disk {
    int loop_fd;
    int loop_number;
    char partition[32]; /* /dev/loopNp1 */
};
struct private_disk attach_private_disk(void);
/* Waits until the loop device is free again, for a moment: others may be looking at it. */
void detach_private_disk(struct private_disk *disk);
void make_ext4(const char *device);
/* A descriptor of the root of a mount that is in no namespace and ends with the descriptor; -1 and errno. */
int mount_privately(const char *device);

/* leftovers.c */
/* Thaws what an instance of this program left frozen when it was killed; the loop device then detaches itself. */
void thaw_leftovers(void);
/* What the image of this process is called: tells the next instance whose it was. */
void image_name(char *name, unsigned long size);

#endif
