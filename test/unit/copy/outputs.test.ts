import { describe, expect, it } from 'vitest';
import {
  namesBehind,
  parseComplaint as parseRsyncComplaint,
  withoutNames,
  parseProgress,
  parseStats,
  parseTransferred,
  tellsOfNone,
} from '../../../src/copy/rsync/rsync-output.js';
import {
  isPadded,
  parseComplaint as parseTarComplaint,
  parseListing,
  unescapeName,
} from '../../../src/copy/tar/tar-output.js';

describe("rsync's output", () => {
  it('tells progress by bytes, and at the end of each file by files, with directories apart', () => {
    expect(parseProgress('      1,238,099   5%  146.38kB/s    0:00:08')).toEqual({ bytes: 1_238_099 });
    expect(parseProgress('    276,892,500  25%  259.65MB/s    0:00:02 (xfr#5, to-chk=169/396)')).toEqual({
      bytes: 276_892_500,
      totalBytes: 1_085_852_941,
      files: 5,
      entries: 227,
      totalEntries: 396,
    });
    expect(parseProgress('Number of files: 15')).toBeUndefined();
    expect(parseProgress('')).toBeUndefined();
  });

  it('never estimates a total below what is copied', () => {
    expect(parseProgress('  1,000 100%  1.00MB/s  0:00:00 (xfr#1, to-chk=0/1)')).toMatchObject({
      bytes: 1000,
      totalBytes: 1000,
    });
  });

  it('counts everything but directories', () => {
    const stats = `
Number of files: 1,234 (reg: 1,000, dir: 34, link: 200)
Number of created files: 1
Total file size: 1,073,813,168 bytes
Total transferred file size: 0 bytes
`;
    expect(parseStats(stats)).toEqual({ files: 1200, bytes: 1_073_813_168, entries: 1234 });
    expect(parseStats('Number of files: 3 (reg: 3)\nTotal file size: 12 bytes\n')).toEqual({
      files: 3,
      bytes: 12,
      entries: 3,
    });
    expect(parseStats('')).toEqual({ files: 0, bytes: 0, entries: 0 });
    expect(parseTransferred('Number of regular files transferred: 1,234\n')).toBe(1234);
    expect(parseTransferred('')).toBeUndefined();
  });

  it('names what could not be copied', () => {
    expect(
      parseRsyncComplaint(
        'rsync: [sender] send_files failed to open "/exp/a \\#303\\#274": Permission denied (13)',
      ),
    ).toMatchObject({
      kind: 'path',
      path: '/exp/a ü',
      name: '/exp/a \u{c3}\u{bc}',
    });
    expect(parseRsyncComplaint('file has vanished: "/exp/new\\#012line"')).toMatchObject({
      kind: 'path',
      path: String.raw`/exp/new\012line`,
    });
    expect(
      parseRsyncComplaint('rsync: [sender] readlink_stat("/exp/x") failed: Structure needs cleaning (117)'),
    ).toMatchObject({
      kind: 'path',
      path: '/exp/x',
    });
    expect(
      parseRsyncComplaint(
        'rsync: [sender] get_acl: sys_acl_get_file(./a, b, ACL_TYPE_ACCESS): Structure needs cleaning (117)',
      ),
    ).toMatchObject({ kind: 'path', path: 'a, b' });
    for (const call of ['set_acl: xacl_set', 'get_acl: xacl_get'])
      expect(
        parseRsyncComplaint(
          `rsync: [receiver] ${call}(a/.key.IzSqNE, ACL_TYPE_ACCESS): Operation not supported (95)`,
        ),
      ).toMatchObject({ kind: 'path', path: 'a/.key.IzSqNE' });
    for (const what of ['filename overflows max-path len by 1', 'skipping overly long name'])
      expect(parseRsyncComplaint(`${what}: d/n: \\#303\\#274`)).toMatchObject({ path: 'd/n: \u{fc}' });
    expect(parseRsyncComplaint('could not make way for new regular file: srv/x')).toMatchObject({
      kind: 'path',
      path: 'srv/x',
    });
    expect(parseRsyncComplaint('ERROR: srv/x failed verification -- update discarded.')).toMatchObject({
      kind: 'path',
      path: 'srv/x',
    });
    expect(
      parseRsyncComplaint(
        'rsync: [receiver] rsync_xal_set: lsetxattr("/data/x","user.a") failed: No space left on device (28)',
      ),
    ).toMatchObject({ kind: 'path', path: '/data/x' });
    expect(
      parseRsyncComplaint(
        'rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c',
      ),
    ).toBeUndefined();
  });

  it('tells what did not come from what came without an attribute, or may come yet', () => {
    for (const line of [
      'rsync: [sender] send_files failed to open "/exp/a": Input/output error (5)',
      'file has vanished: "/exp/a"',
      'ERROR: srv/x failed verification -- update discarded.',
    ])
      expect(tellsOfNone(line)).toBe(true);
    for (const line of [
      'rsync: [sender] read errors mapping "/exp/a": Input/output error (5)',
      'WARNING: srv/x failed verification -- update discarded (will try again).',
      'rsync: [receiver] rsync_xal_set: lsetxattr("/data/x","user.a") failed: No space left on device (28)',
    ])
      expect(tellsOfNone(line)).toBe(false);
  });

  it('knows what is meant by the name that a file has until it is whole', () => {
    expect(namesBehind('/data/srv/.a.f.318a2M')).toEqual([
      '/data/srv/a.f',
      '/data/srv/.a.f',
      '/data/srv/.a.f.318a2M',
    ]);
    expect(namesBehind('.x.Zabcde')).toEqual(['x', '.x', '.x.Zabcde']);
    for (const name of ['/data/.x.d/a.318a2M', '/data/.x.a-bcde', '/data/.318a2M'])
      expect(namesBehind(name)).toEqual([name]);
  });

  it('knows a full target from a file that cannot be copied', () => {
    expect(
      parseRsyncComplaint('rsync: [receiver] mkstemp "/data/.x.1" failed: No space left on device (28)'),
    ).toEqual({
      kind: 'full',
    });
    expect(
      parseRsyncComplaint('rsync: [generator] recv_generator: mkdir "/d" failed: Disk quota exceeded (122)'),
    ).toEqual({
      kind: 'full',
    });
    // The attribute is what is complained about, and not a directory of that name.
    expect(
      parseRsyncComplaint('rsync: [receiver] mkstemp "/d/xattr/.x" failed: No space left on device (28)'),
    ).toEqual({ kind: 'full' });
  });

  it('takes no word of it from the name of a file', () => {
    const name = 'x: No space left on device (28)';
    for (const [line, path] of [
      [`filename overflows max-path len by 1: d/${name}`, `d/${name}`],
      [`skipping overly long name: ${name}`, name],
      [`could not make way for new regular file: ${name}`, name],
      [`rsync: [sender] send_files failed to open "/exp/${name}": Permission denied (13)`, `/exp/${name}`],
      [`file has vanished: "/exp/${name}"`, `/exp/${name}`],
    ] as const) {
      expect(parseRsyncComplaint(line)).toMatchObject({ kind: 'path', path });
      expect(withoutNames(`${line}\nrsync error: x`)).not.toContain('No space');
    }
    const quoted =
      'rsync: [sender] send_files failed to open "/a": No space left on device (28)": Permission denied (13)';
    expect(parseRsyncComplaint(quoted)).toMatchObject({ kind: 'path' });
    expect(parseRsyncComplaint(`file has vanished: ${name}`)).toBeUndefined();
  });
});

describe("tar's output", () => {
  it('lists members with their types and sizes', () => {
    expect(parseListing('-rw-r--r--* 0/0               2 2026-11-23 19:16 srv/a b')).toEqual({
      type: '-',
      bytes: 2,
      name: 'srv/a b',
    });
    expect(parseListing('crw-r--r--  0/0             1,3 2026-11-23 19:16 srv/null')).toMatchObject({
      type: 'c',
      bytes: 0,
    });
    expect(parseListing('hrw-r--r-- 55/66 0 2026-11-23 19:16 srv/b link to srv/a')).toMatchObject({
      type: 'h',
    });
    expect(parseListing('drwxrwxrwt 0/0 0 1935-03-04 05:06 srv/')).toMatchObject({ type: 'd' });
    expect(parseListing('tar: something else')).toBeUndefined();
  });

  it('escapes names as a shell never would', () => {
    expect(unescapeName(String.raw`new\nline\ttab\\n\377`)).toBe('new\nline\ttab\\n\u00FF');
  });

  it('names what could not be read or restored', () => {
    expect(parseTarComplaint('tar: /exp/gone: Warning: Cannot stat: No such file or directory')).toBe(
      '/exp/gone',
    );
    expect(parseTarComplaint('tar: srv/a: b: Cannot open: File exists')).toBe('srv/a: b');
    expect(
      parseTarComplaint('tar: /exp/x: Read error at byte 0, while reading 10240 bytes: Input/output error'),
    ).toBe('/exp/x');
    expect(parseTarComplaint('tar: /exp/x: File shrank by 12 bytes; padding with zeros')).toBe('/exp/x');
    expect(parseTarComplaint('tar: srv/x: Not found in archive')).toBe('srv/x');
  });

  it('tells of what zeros were packed', () => {
    expect(isPadded('tar: /x: Read error at byte 0, while reading 10240 bytes: Input/output error')).toBe(
      true,
    );
    expect(isPadded('tar: /x: File shrank by 12 bytes; padding with zeros')).toBe(true);
    expect(isPadded('tar: /x: Warning: Cannot open: Input/output error')).toBe(false);
  });

  it('names attributes that could not be restored, and nothing that is summed up', () => {
    expect(
      parseTarComplaint(
        "tar: setxattrat: Cannot set 'user.a' extended attribute for file 'srv/x': Operation not supported",
      ),
    ).toBe('srv/x');
    expect(parseTarComplaint('tar: Exiting with failure status due to previous errors')).toBeUndefined();
    expect(parseTarComplaint('tar: /exp/socket: socket ignored')).toBeUndefined();
  });
});
