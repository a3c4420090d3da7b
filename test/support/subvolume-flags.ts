import { must } from './throwaway-filesystem.js';

/** ioctl(2) BTRFS_IOC_SUBVOL_SETFLAGS: that a subvolume was received stays, as btrfs-progs before 5.14.2 left it. */
const SET_FLAGS =
  'use Fcntl; sysopen(my $d, $ARGV[0], O_RDONLY) or die $!; my $flags = pack("Q", $ARGV[1]); ioctl($d, 0x4008941a, $flags) or die $!';
/** BTRFS_SUBVOL_RDONLY. */
const READ_ONLY = 2;

/** Makes a subvolume writable, or read-only, and changes nothing else of it. Needs perl. */
export async function setReadOnly(directory: string, isReadOnly: boolean): Promise<void> {
  await must('perl', '-e', SET_FLAGS, directory, String(isReadOnly ? READ_ONLY : 0));
}
