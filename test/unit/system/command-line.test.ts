import { execFileSync } from 'node:child_process';
import { afterEach, expect, it } from 'vitest';
import { createRunHost } from '../../../src/run/host.js';
import { ownCommandLine, shellWord, suggested, withoutPasswords } from '../../../src/system/command-line.js';

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

it('quotes for a shell what needs it, and nothing else', () => {
  expect(shellWord('/srv/a-b_c.d@e:f=g+1')).toBe('/srv/a-b_c.d@e:f=g+1');
  const words = ['my disk', "it's", '$HOME', '`id`', '*', '', 'a;b', '~', '\\', '"', 'a\nb'];
  const said = execFileSync('sh', ['-c', String.raw`printf '%s\0' ${words.map(shellWord).join(' ')}`]);
  expect(said.toString()).toBe(words.map((word) => `${word}\0`).join(''));
});

it.each([
  [['backups', 'show', 'x'], 'backups list', [], 'fsbackup backups list'],
  [['thaw', '/a b'], 'thaw', ['--force', '/a b'], "fsbackup thaw --force '/a b'"],
  [['run', '--config=/etc/my c.yaml'], 'plan', [], "fsbackup plan --config '/etc/my c.yaml'"],
  [['run', '--config', '/c.yaml'], 'recover', [], 'fsbackup recover'],
  [['run', '--job', 'a', '--to', '/b', '--engine', 'tar'], 'backups list', [], 'fsbackup backups list'],
  [
    ['restore', 'a', '--from', '/b', '--engine', 'borg', '--config', '/c'],
    'backups verify',
    ['a', '--full'],
    'fsbackup backups verify a --full --from /b --engine borg --config /c',
  ],
  [['freeze', '/a', '--', 'x', '--config', '/c'], 'config validate', [], 'fsbackup config validate'],
  [['plan', '--config'], 'plan', [], 'fsbackup plan'],
])('suggests after %j what looks at the same: %s', (args, command, words, line) => {
  process.argv = ['node', 'run.js', ...args];
  expect(suggested(command, words)).toBe(line);
});
