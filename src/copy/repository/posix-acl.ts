/** An entry of a POSIX ACL (acl(5)), without whose it is. */
export interface AclEntry {
  kind: 'owner' | 'user' | 'group' | 'named group' | 'mask' | 'other';
  /** As in a mode: 4 reads, 2 writes, 1 executes. */
  rights: number;
}

/** The attribute that the kernel keeps them in, `linux/posix_acl_xattr.h`: a version, and eight bytes for each entry. */
export const ACCESS_ACL = 'system.posix_acl_access';
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const KINDS: Readonly<Record<number, AclEntry['kind']>> = {
  1: 'owner',
  2: 'user',
  4: 'group',
  8: 'named group',
  16: 'mask',
  32: 'other',
};

/** The entries in the kernel's attribute. */
export function aclOfAttribute(value: Buffer): AclEntry[] {
  const entries: AclEntry[] = [];
  for (let at = HEADER_BYTES; at + ENTRY_BYTES <= value.length; at += ENTRY_BYTES) {
    const kind = KINDS[value.readUInt16LE(at)];
    if (kind !== undefined) entries.push({ kind, rights: value.readUInt16LE(at + 2) & 7 });
  }
  return entries;
}

/** The entries of the long text form, as borg keeps it: `user:123:rw-:123`. */
export function aclOfText(text: string): AclEntry[] {
  return text.split('\n').flatMap((line): AclEntry[] => {
    const entry = /^(user|group|mask|other):([^:]*):([r-])([w-])([x-])/.exec(line);
    if (entry === null) return [];
    const [, tag, name, ...flags] = entry;
    const rights = flags.reduce((bits, flag) => bits * 2 + (flag === '-' ? 0 : 1), 0);
    if (tag === 'mask' || tag === 'other') return [{ kind: tag, rights }];
    if (tag === 'user') return [{ kind: name === '' ? 'owner' : 'user', rights }];
    return [{ kind: name === '' ? 'group' : 'named group', rights }];
  });
}

/**
 * The mode for a file that had this mode and this ACL, and has lost the ACL: the mode's bits for the group were the ACL's
 * mask. Nobody gets more rights by it than the ACL gave: whoever had an entry counts as one of the owning group or of all
 * others from now on.
 */
export function modeWithoutAcl(mode: number, acl: readonly AclEntry[]): number {
  const rightsOf = (...kinds: AclEntry['kind'][]): number =>
    acl.filter(({ kind }) => kinds.includes(kind)).reduce((all, { rights }) => all & rights, 7);
  const mask = rightsOf('mask');
  const group = (mode >> 3) & mask & rightsOf('group', 'user');
  const named = acl.some(({ kind }) => kind === 'user' || kind === 'named group');
  const other = mode & rightsOf('other', 'user', 'named group') & (named ? mask : 7);
  return (mode & 0o7700) | ((group & 7) << 3) | (other & 7);
}
