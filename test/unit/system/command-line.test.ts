import { afterEach, expect, it } from 'vitest';
import { createRunHost } from '../../../src/run/host.js';
import { ownCommandLine, withoutPasswords } from '../../../src/system/command-line.js';

const { argv } = process;
afterEach(() => {
  process.argv = argv;
});

it('is told without the passwords of its URLs', async () => {
  process.argv = [
    'node',
    'run.js',
    'restore',
    'srv',
    '--from',
    'rest:https://me:s3cret@host:8000/srv',
    '--to',
    '/x',
  ];
  expect(ownCommandLine()).toBe('restore srv --from rest:https://me:***@host:8000/srv --to /x');
  // What a lock says of its holder, to whoever waits for it, and in its file.
  const { holder } = (await createRunHost()).locks('run');
  expect(holder.command).toBe('fsbackup restore srv --from rest:https://me:***@host:8000/srv --to /x');
});

it('leaves alone what is no password', () => {
  const text = 'sftp://me@host/srv rest:http://host:8000/ ssh://host/a:b@c user:word@host';
  expect(withoutPasswords(text)).toBe(text);
});
