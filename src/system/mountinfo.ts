import { readFile } from 'node:fs/promises';

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface Mount {
  mountId: number;
  parentId: number;
  /**
   * `major:minor` of the superblock. The identity of a filesystem everywhere in fsbackup: st_dev differs between
   * the subvolumes of one btrfs, this does not.
   */
  majorMinor: string;
  /** The directory of the filesystem that is mounted here: `/`, or a subdirectory for a bind mount. */
  root: string;
  mountpoint: string;
  /** Where it is mounted indeed, of one that was narrowed to a subvolume below: `mountpoint` is that one's directory. */
  narrowedFrom?: string;
  /** Per-mount options, e.g. `['rw', 'relatime']`. */
  options: string[];
  fstype: string;
  /** What is mounted: `/dev/loop0`, `tank/srv`, `tmpfs`. */
  source: string;
  /** Per-superblock options, as the kernel writes them: see `unescapePath`. */
  superOptions: string[];
}

/**
 * The kernel writes space, tab, newline and backslash in paths as `\040`, `\011`, `\012`, `\134`, and in options commas
 * as `\054`, for a value to be split before.
 */
export function unescapePath(text: string): string {
  // Bytes first: an octal escape may stand between the bytes of a UTF-8 sequence only as whole characters,
  // so replacing on the decoded string is safe.
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

/** A path as the kernel writes it: the inverse of `unescapePath`. */
export function escapePath(name: string): string {
  return name.replaceAll(
    /[ \t\n\\]/g,
    (character) => `\\${(character.codePointAt(0) ?? 0).toString(8).padStart(3, '0')}`,
  );
}

/** Parses the text of a mountinfo file. Lines that do not have the documented shape are left out. */
export function parseMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    // Optional fields (shared:N, master:N, …) stand between the sixth field and a lone dash.
    const dash = fields.indexOf('-', 6);
    const [mountId, parentId, majorMinor, root, mountpoint, options] = fields;
    const [fstype, source, superOptions] = dash === -1 ? [] : fields.slice(dash + 1);
    if (
      mountId === undefined ||
      parentId === undefined ||
      majorMinor === undefined ||
      root === undefined ||
      mountpoint === undefined ||
      options === undefined ||
      fstype === undefined ||
      source === undefined ||
      !/^\d+$/.test(mountId) ||
      !/^\d+$/.test(parentId) ||
      !/^\d+:\d+$/.test(majorMinor) ||
      !mountpoint.startsWith('/')
    ) {
      continue;
    }
    mounts.push({
      mountId: Number(mountId),
      parentId: Number(parentId),
      majorMinor,
      root: unescapePath(root),
      mountpoint: unescapePath(mountpoint),
      options: options.split(','),
      fstype,
      source: unescapePath(source),
      superOptions: superOptions === undefined ? [] : superOptions.split(','),
    });
  }
  return mounts;
}

/** Reads this process's mounts, in mount order: of two mounts on one mountpoint the later hides the earlier. */
export async function readMounts(): Promise<Mount[]> {
  return parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** True when `path` is `directory` or lies below it. Both absolute and normalised. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

/**
 * The mounts that show `directory`, or something in it, at another place: bind mounts, whoever made them. `directory` is
 * absolute and free of symlinks.
 */
export function mountsShowing(mounts: readonly Mount[], directory: string): Mount[] {
  const own = mountOfPath(mounts, directory);
  if (own === undefined) return [];
  const below = directory.slice(own.mountpoint === '/' ? 0 : own.mountpoint.length);
  const inside = `${own.root === '/' ? '' : own.root}${below}`;
  return mounts.filter(
    (mount) => mount !== own && mount.majorMinor === own.majorMinor && isWithin(mount.root, inside),
  );
}

/**
 * The mount that an absolute, symlink-free path belongs to by name: the longest mountpoint above it, the last
 * mounted of equals. For an open file descriptor, the mnt_id of its fdinfo is the certain answer.
 */
export function mountOfPath(mounts: readonly Mount[], path: string): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    if (!isWithin(path, mount.mountpoint)) continue;
    if (best === undefined || mount.mountpoint.length >= best.mountpoint.length) best = mount;
  }
  return best;
}
