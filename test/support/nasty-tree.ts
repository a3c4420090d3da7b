import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  closeSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';

/** A file with holes: so many bytes long, with a little data at the start, in the middle and at the end. */
function writeSparse(file: string, size: number): void {
  const fd = openSync(file, 'w');
  for (const at of [0, Math.floor(size / 2), size - 6]) writeSync(fd, 'sparse', at);
  closeSync(fd);
}

function tool(...argv: [string, ...string[]]): void {
  execFileSync(argv[0], argv.slice(1), { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } });
}

async function makeSocket(file: string): Promise<void> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(file, resolve));
  // Node unlinks the socket on close: another name for it stays.
  linkSync(file, `${file}.kept`);
  await new Promise((resolve) => server.close(resolve));
}

/** What a nasty tree has more than once, and how much of it. */
export interface NastyOptions {
  smallFiles?: number;
  sparseBytes?: number;
}

/**
 * Fills a directory with everything that backups get wrong: many small files, holes, hard links, extended attributes,
 * ACLs, a file capability, device nodes, a fifo, a socket, names with newlines, spaces, patterns and bytes that are no
 * UTF-8, times before 1970, setuid, sticky and no-permission modes, deep directories. Needs root, setfattr, setfacl,
 * setcap. The filesystem must take user, trusted and security attributes.
 */
export async function makeNastyTree(root: string, options: NastyOptions = {}): Promise<void> {
  const at = (...names: string[]): string => path.join(root, ...names);
  const { smallFiles = 1100, sparseBytes = 128 * 1024 ** 2 } = options;

  for (let index = 0; index < smallFiles; index += 1) {
    const directory = at('many', String(index % 37));
    mkdirSync(directory, { recursive: true });
    const file = path.join(directory, `file-${index}`);
    writeFileSync(file, `content ${index}\n`.repeat(index % 50));
    chownSync(file, index % 7, index % 11);
    chmodSync(file, [0o644, 0o600, 0o755, 0o000, 0o444][index % 5] ?? 0o644);
    utimesSync(file, 0, 1_000_000_000 + index + 0.5);
  }

  mkdirSync(at('holes'));
  writeSparse(at('holes', 'large'), sparseBytes);
  writeFileSync(at('holes', 'nothing-but'), '');
  truncateSync(at('holes', 'nothing-but'), 16 * 1024 ** 2);
  writeFileSync(at('holes', 'none'), Buffer.alloc(3 * 1024 ** 2, 'x'));

  mkdirSync(at('links'));
  writeFileSync(at('links', 'a'), 'linked');
  linkSync(at('links', 'a'), at('links', 'b'));
  linkSync(at('links', 'a'), at('many', 'c'));
  symlinkSync('a', at('links', 'relative'));
  symlinkSync('/nowhere/at all', at('links', 'dangling'));
  lutimesSync(at('links', 'dangling'), 0, 999_999_999.25);
  linkSync(at('links', 'dangling'), at('links', 'hard-linked symlink'));

  mkdirSync(at('attributes', 'inherits'), { recursive: true });
  writeFileSync(at('attributes', 'user'), 'x');
  tool('setfattr', '-n', 'user.empty', at('attributes', 'user'));
  tool('setfattr', '-n', 'user.binary', '-v', '0x00ff0a22', at('attributes', 'user'));
  tool('setfattr', '-n', 'trusted.overlay.test', '-v', 'y', at('attributes', 'user'));
  tool('setfattr', '-n', 'user.on-directory', '-v', 'd', at('attributes'));
  // What rsync keeps at a receiver that is not root, and leaves out where it is asked for attributes only once.
  tool('setfattr', '-n', 'user.rsync.%stat', '-v', '100644 0,0 1000:1000', at('attributes', 'user'));
  writeFileSync(at('attributes', 'acl'), 'x');
  // An id that has no name, and one that has: both must come back by number.
  tool('setfacl', '-m', 'u:54321:rw,u:33:r,g:12:rx,m::rwx', at('attributes', 'acl'));
  tool('setfacl', '-d', '-m', 'u:54321:rwx,g:12:r', at('attributes', 'inherits'));
  writeFileSync(at('attributes', 'inherits', 'plain'), 'x');
  tool('setfacl', '-b', at('attributes', 'inherits', 'plain'));
  writeFileSync(at('attributes', 'capable'), 'x', { mode: 0o755 });
  chownSync(at('attributes', 'capable'), 1000, 1000);
  tool('setcap', 'cap_net_raw+ep', at('attributes', 'capable'));

  mkdirSync(at('special'));
  tool('mknod', at('special', 'null'), 'c', '1', '3');
  tool('mknod', at('special', 'disk'), 'b', '7', '200');
  tool('mkfifo', '-m', '0620', at('special', 'fifo'));
  await makeSocket(at('special', 'socket'));

  mkdirSync(at('names'));
  const names = [
    'new\nline',
    ' blanks ',
    'tab\t',
    '*',
    '[a]',
    '?',
    'back\\slash',
    '-rf',
    '"quoted"',
    'x link to y',
    'ü',
    '\u{1F4BE}',
    '#',
    '\\#012',
  ];
  for (const name of names) writeFileSync(at('names', name), name);
  const raw = (bytes: string): Buffer =>
    Buffer.concat([Buffer.from(at('names/')), Buffer.from(bytes, 'latin1')]);
  writeFileSync(raw('latin1-\xfc\xff\n\x01'), 'not UTF-8');
  linkSync(raw('latin1-\xfc\xff\n\x01'), raw('\xfe-linked'));
  mkdirSync(raw('directory-\xff'));
  writeFileSync(raw('directory-\xff/file'), 'x');
  writeFileSync(at('names', 'n'.repeat(255)), 'long');

  mkdirSync(at('times'));
  for (const [name, time] of [
    ['before-1970', '1935-03-04 05:06:07.123456789'],
    ['after-2038', '2039-01-02 03:04:05.987654321'],
    ['ns', '2020-02-02 02:02:02.000000001'],
  ] as const) {
    writeFileSync(at('times', name), name);
    tool('touch', '-d', `${time} UTC`, at('times', name));
  }

  mkdirSync(at('modes', 'sticky'), { recursive: true });
  chmodSync(at('modes', 'sticky'), 0o1777);
  writeFileSync(at('modes', 'setuid'), 'x');
  chownSync(at('modes', 'setuid'), 1001, 1002);
  chmodSync(at('modes', 'setuid'), 0o6755);
  mkdirSync(at('modes', 'closed'));
  writeFileSync(at('modes', 'closed', 'file'), 'x');
  chmodSync(at('modes', 'closed'), 0o000);
  mkdirSync(at('modes', 'setgid'));
  chownSync(at('modes', 'setgid'), 0, 1003);
  chmodSync(at('modes', 'setgid'), 0o2775);

  mkdirSync(at(...Array.from({ length: 60 }, (_, depth) => `deep-directory-${depth}`)), { recursive: true });
  utimesSync(at('deep-directory-0', 'deep-directory-1'), 0, 12_345.5);
  utimesSync(at('many'), 0, 1_234_567_890);
}
