import { describe, expect, it } from 'vitest';
import { DumpedAcls, type FileWithAcl } from '../../../src/copy/borg/borg-acls.js';
import { aclOfAttribute, aclOfText, modeWithoutAcl } from '../../../src/copy/repository/posix-acl.js';

/** As getfacl(1) writes it, with what is left out filled in. */
function acl(text: string): string {
  return text
    .split(',')
    .map((entry) =>
      entry.replace(/^u:/, 'user:').replace(/^g:/, 'group:').replace(/^m:/, 'mask:').replace(/^o:/, 'other:'),
    )
    .join('\n');
}

describe('a POSIX ACL', () => {
  it("is read from the kernel's attribute", () => {
    const value = Buffer.from(
      '02000000 01000600ffffffff 020006007b000000 04000000ffffffff 10000600ffffffff 20000400ffffffff'.replaceAll(
        ' ',
        '',
      ),
      'hex',
    );
    expect(aclOfAttribute(value)).toEqual([
      { kind: 'owner', rights: 6 },
      { kind: 'user', rights: 6 },
      { kind: 'group', rights: 0 },
      { kind: 'mask', rights: 6 },
      { kind: 'other', rights: 4 },
    ]);
  });

  it("is read from borg's text", () => {
    expect(
      aclOfText('user::rwx\nuser:123:r--:123\ngroup::r-x\ngroup:5:-wx:5\nmask::rwx\nother::--x'),
    ).toEqual([
      { kind: 'owner', rights: 7 },
      { kind: 'user', rights: 4 },
      { kind: 'group', rights: 5 },
      { kind: 'named group', rights: 3 },
      { kind: 'mask', rights: 7 },
      { kind: 'other', rights: 1 },
    ]);
  });

  it.each([
    [
      'the group had nothing, and the mask was for somebody else',
      0o660,
      'u::rw-,u:123:rw-,g::---,m::rw-,o::---',
      0o600,
    ],
    ['all had as much as the mode says', 0o644, 'u::rw-,u:123:rw-,g::r--,m::rw-,o::r--', 0o644],
    ['the mask took from the group', 0o640, 'u::rw-,u:123:rwx,g::rwx,m::r--,o::---', 0o640],
    ['somebody had less than all others', 0o755, 'u::rwx,u:123:---,g::r-x,m::r-x,o::r-x', 0o700],
    ['a group had less than all others', 0o755, 'u::rwx,g::r-x,g:5:r--,m::r-x,o::r-x', 0o754],
    ['the mask left a user less than all others', 0o705, 'u::rwx,u:123:rwx,g::r-x,m::---,o::r-x', 0o700],
    ['it is a directory with a sticky bit', 0o3777, 'u::rwx,u:123:rwx,g::rwx,m::rwx,o::rwx', 0o3777],
  ])('that is lost leaves nobody more than it gave: %s', (_, mode, text, expected) => {
    expect(modeWithoutAcl(mode, aclOfText(acl(text)))).toBe(expected);
  });
});

describe("borg's dump of an archive", () => {
  function dumped(text: string): { found: FileWithAcl[]; isWhole: boolean } {
    const found: FileWithAcl[] = [];
    const dump = new DumpedAcls((file) => found.push(file));
    for (const line of text.split('\n')) dump.heard(line);
    return { found, isWhole: dump.isWhole };
  }

  it('tells which files have ACLs, by all bytes of their names', () => {
    const items = [
      {
        acl_access: 'user::rw-',
        chunks: [['id', 1, 2]],
        path: 'srv/ü',
        xattrs: { path: 'x', 'user.a': 'b' },
      },
      { mode: 33_188, path: 'srv/none', xattrs: { 'user.acl_access': 'x' } },
      { acl_default: 'user::rwx', path: '\u{7f}737276ff' },
    ];
    const text = JSON.stringify({ _name: 'a', _items: items }, undefined, 4);
    // Its items are not indented by a step of their own.
    const asBorg = text.replaceAll(/^ {4}( {4}[ {}])/gm, '$1');
    expect(dumped(asBorg)).toEqual({
      found: [
        { path: 'srv/\u{c3}\u{bc}', access: 'user::rw-' },
        { path: 'srv\u{ff}', access: undefined },
      ],
      isWhole: true,
    });
    expect(dumped(asBorg.slice(0, -2)).isWhole).toBe(false);
  });
});
