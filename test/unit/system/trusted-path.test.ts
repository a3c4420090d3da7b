import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensurePrivateDirectory, requireTrustedDirectories } from '../../../src/system/directories.js';
import {
  distrustOf,
  findDistrust,
  isClosedToOthers,
  requireTrustedPath,
} from '../../../src/system/trusted-path.js';
import { describeNeeding } from '../../support/capabilities.js';

const STRANGER = 65_534;
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'trust-'));
  // Else nothing below would be looked at.
  chmodSync(directory, 0o755);
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function make(name: string, mode: number, uid?: number): string {
  const made = path.join(directory, name);
  mkdirSync(made, { recursive: true });
  chmodSync(made, mode);
  if (uid !== undefined) chownSync(made, uid, uid);
  return made;
}

describe('who decides what a path leads to', () => {
  it.each([
    ['root alone', 0, 0o755, undefined],
    ['another user', 1000, 0o700, 'belongs to uid 1000, whom fsbackup does not trust'],
    ['its group', 0, 0o770, 'may be written by its group or by others'],
    ['everybody', 0, 0o777, 'may be written by its group or by others'],
  ])('%s', (_, uid, mode, because) => {
    expect(distrustOf({ uid, mode }, '/x', [0])?.because).toBe(because);
  });

  it('a directory above that everybody may write to', async () => {
    const open = make('open', 0o777);
    const inside = make('open/inside', 0o755);
    expect(await findDistrust(path.join(inside, 'file'))).toMatchObject({
      at: open,
      fix: `chmod go-w ${open}`,
    });
  });

  it('nobody else, where that directory is sticky and what is in it ours', async () => {
    make('open', 0o1777);
    expect(await findDistrust(make('open/inside', 0o755))).toBeUndefined();
    expect(await findDistrust(path.join(directory, 'open/absent'))).toBeUndefined();
  });

  it('nobody else, below a directory that root alone may enter', async () => {
    make('closed', 0o700);
    expect(await findDistrust(path.join(make('closed/open', 0o777), 'file'))).toBeUndefined();
  });

  it('whoever owns what a symlink leads to, from a closed directory too', async () => {
    const open = make('open', 0o777);
    make('closed', 0o700);
    const link = path.join(directory, 'closed/link');
    symlinkSync(path.join(open, 'target'), link);
    expect(await findDistrust(link)).toMatchObject({ at: open });
    symlinkSync('../open/target', path.join(directory, 'closed/relative'));
    expect(await findDistrust(path.join(directory, 'closed/relative'))).toMatchObject({ at: open });
  });

  it('nobody, where symlinks lead in a circle', async () => {
    const [one, two] = [path.join(directory, 'one'), path.join(directory, 'two')];
    symlinkSync(two, one);
    symlinkSync(one, two);
    expect(await findDistrust(one)).toMatchObject({ because: expect.stringContaining('circle') });
  });

  it('is told with what to do, as an error of usage', async () => {
    const open = make('open', 0o777);
    const refused = requireTrustedPath(open, { what: 'the target', why: 'It matters.', otherwise: 'or not' });
    await expect(refused).rejects.toMatchObject({
      code: 'usage',
      message: `the target ${open} cannot be trusted: ${open} may be written by its group or by others`,
      hint: `It matters. Check it, then: chmod go-w ${open}; or not`,
    });
  });
});

describe('whether others get to a directory', () => {
  it.each([
    [0o700, 0o755, true],
    [0o755, 0o700, true],
    [0o755, 0o744, true],
    [0o755, 0o755, false],
    [0o755, 0o701, false],
    [0o710, 0o755, false],
  ])('one above of mode %o, its own %o: closed %s', async (above, own, closed) => {
    make('above', 0o755);
    const inner = make('above/own', own);
    make('above', above);
    expect(await isClosedToOthers(inner)).toBe(closed);
  });
});

describeNeeding(['root'], 'another user', () => {
  it('closes nothing with a directory of theirs', async () => {
    const theirs = make('theirs', 0o700, STRANGER);
    expect(await isClosedToOthers(theirs)).toBe(false);
  });

  it('decides what is in a directory of theirs, however deep below it and whosever that is', async () => {
    const theirs = make('theirs', 0o755, STRANGER);
    make('theirs/a/b', 0o755);
    expect(await findDistrust(path.join(theirs, 'a/b/c'))).toMatchObject({
      at: theirs,
      because: `belongs to uid ${STRANGER}, whom fsbackup does not trust`,
    });
  });

  it('decides on what they made in a sticky directory, a symlink too', async () => {
    make('open', 0o1777);
    const theirs = make('open/theirs', 0o755, STRANGER);
    expect(await findDistrust(path.join(theirs, 'x'))).toMatchObject({ at: theirs });
    const link = path.join(directory, 'open/link');
    symlinkSync('/etc', link);
    lchownSync(link, STRANGER, STRANGER);
    expect(await findDistrust(link)).toMatchObject({ at: link });
  });

  it('has made the run or the state directory: refused', async () => {
    const env = { FSBACKUP_RUN_DIR: make('run', 0o700), FSBACKUP_STATE_DIR: make('state', 0o700) };
    await requireTrustedDirectories(env);
    for (const [name, at] of [
      ['run', env.FSBACKUP_RUN_DIR],
      ['state', env.FSBACKUP_STATE_DIR],
    ] as const) {
      chownSync(at, STRANGER, STRANGER);
      await expect(requireTrustedDirectories(env)).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringMatching(new RegExp(`^the ${name} directory ${at} cannot be trusted`)),
        hint: expect.stringContaining(`chown root ${at}`),
      });
      chownSync(at, 0, 0);
    }
  });
});

describe('the run and the state directory', () => {
  it('are closed to those who might only read in them', async () => {
    const env = { FSBACKUP_RUN_DIR: make('run', 0o755), FSBACKUP_STATE_DIR: path.join(directory, 'state') };
    await requireTrustedDirectories(env);
    expect(statSync(env.FSBACKUP_RUN_DIR).mode & 0o777).toBe(0o700);
    await ensurePrivateDirectory(env.FSBACKUP_STATE_DIR);
    expect(statSync(env.FSBACKUP_STATE_DIR).mode & 0o777).toBe(0o700);
  });

  it('are refused when they are somewhere that others may write to', async () => {
    const open = make('open', 0o777);
    const run = make('open/run', 0o700);
    writeFileSync(path.join(run, 'x'), '');
    await expect(
      requireTrustedDirectories({ FSBACKUP_RUN_DIR: run, FSBACKUP_STATE_DIR: directory }),
    ).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining(open) });
  });
});
