import { expect, it } from 'vitest';
import { FsbackupError } from '../../../src/errors.js';
import { toErrorReport } from '../../../src/report/error-report.js';
import { wantsColour } from '../../../src/report/colours.js';

it('lets an FsbackupError speak for itself', () => {
  expect(toErrorReport(new FsbackupError('locked', 'Another run', { hint: 'Wait.' }))).toEqual({
    code: 'locked',
    exitCode: 11,
    message: 'Another run',
    hint: 'Wait.',
  });
});

it.each([new TypeError('x is undefined'), 'x is undefined'])('takes all else for a bug', (thrown) => {
  expect(toErrorReport(thrown)).toMatchObject({
    code: 'bug',
    exitCode: 70,
    message: 'a bug in fsbackup: x is undefined',
  });
});

it.each([
  ['EACCES', 65534, { code: 'usage', exitCode: 2, hint: expect.stringContaining('as root') as string }],
  ['EPERM', 65534, { code: 'usage', exitCode: 2 }],
  ['EPERM', 0, { code: 'failed', exitCode: 1, hint: expect.stringContaining('even to root') as string }],
])('takes %s of uid %i for a want of permission', (code, uid, expected) => {
  const error = Object.assign(new Error(`${code}: no, scandir '/run/fsbackup'`), { code });
  expect(toErrorReport(error, uid)).toMatchObject({
    ...expected,
    message: `no permission: ${code}: no, scandir '/run/fsbackup'`,
  });
});

it('takes a working directory that is gone for no bug', () => {
  const error = Object.assign(new Error('ENOENT: no such file or directory, uv_cwd'), {
    code: 'ENOENT',
    syscall: 'uv_cwd',
  });
  expect(toErrorReport(error)).toMatchObject({
    code: 'usage',
    exitCode: 2,
    message: expect.stringContaining('working directory') as string,
  });
});

it('takes a fault of the host for that, and no missing file', () => {
  const fault = (code: string): Error => Object.assign(new Error(`${code}: read '/var'`), { code });
  expect(toErrorReport(fault('EIO'))).toMatchObject({ code: 'failed', message: "EIO: read '/var'" });
  expect(toErrorReport(fault('ENOENT'))).toMatchObject({ code: 'bug' });
});

it.each([
  [true, {}, true],
  [false, {}, false],
  [true, { TERM: 'dumb' }, false],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [false, { FORCE_COLOR: '1' }, true],
  [true, { FORCE_COLOR: '0' }, false],
  [true, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
])('on a terminal (%s) with %j, colour is %s', (isTTY, env, expected) => {
  expect(wantsColour({ isTTY }, env)).toBe(expected);
});
