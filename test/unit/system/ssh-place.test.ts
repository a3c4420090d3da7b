import { describe, expect, it } from 'vitest';
import {
  joinShellCommand,
  parseSshPlace,
  rsyncName,
  splitShellCommand,
  SshClient,
} from '../../../src/system/ssh-place.js';

describe('parseSshPlace', () => {
  it.each([
    ['ssh://host/srv/b', { login: 'host', port: undefined, directory: '/srv/b' }],
    ['ssh://me@host:2222/srv//b/', { login: 'me@host', port: 2222, directory: '/srv/b' }],
    ['ssh://me@[fe80::1%eth0]:22/b', { login: 'me@fe80::1%eth0', port: 22, directory: '/b' }],
    ['me@host:/srv/b', { login: 'me@host', port: undefined, directory: '/srv/b' }],
    ['host:/srv/a b', { login: 'host', port: undefined, directory: '/srv/a b' }],
    ['me@[::1]:/b', { login: 'me@::1', port: undefined, directory: '/b' }],
  ])('reads %s', (text, place) => {
    expect(parseSshPlace(text)).toEqual(place);
  });

  it.each([
    '/srv/b',
    'host:srv',
    'host:',
    'ssh://host',
    'ssh://host/',
    'host:/srv/../etc',
    '-oProxyCommand=x:/srv',
    'ssh://-oProxyCommand=x/srv',
    'rsync://host/module',
    'me@host::module/b',
    'host:/a\nb',
    'a b@host:/srv',
  ])('takes %j for something else', (text) => {
    expect(parseSshPlace(text)).toBeUndefined();
  });
});

it('names a directory for rsync', () => {
  expect(rsyncName({ login: 'me@::1' }, '/b')).toBe('me@[::1]:/b');
  expect(rsyncName({ login: 'host' }, '/b')).toBe('host:/b');
});

describe('a remote shell command', () => {
  it('is split as rsync splits it, and put together again', () => {
    const words = splitShellCommand(`ssh  -i "a b" -o 'x ''y''' "" e"f g"h`);
    expect(words).toEqual(['ssh', '-i', 'a b', '-o', "x 'y'", '', 'ef gh']);
    expect(splitShellCommand(joinShellCommand(words))).toEqual(words);
  });

  it('with an open quote is refused', () => {
    expect(() => splitShellCommand('ssh -i "a')).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  it('keeps each word whole for the shell at the other end, and takes no login for an option', () => {
    const argv = new SshClient({ login: 'me@host', port: 22 }, 'ssh -F none').argv(['echo', "a'b", '$x']);
    expect(argv.slice(0, 3)).toEqual(['ssh', '-F', 'none']);
    expect(argv.slice(-5)).toEqual(['-p', '22', '--', 'me@host', String.raw`'echo' 'a'\''b' '$x'`]);
    expect(argv).toContain('BatchMode=yes');
  });
});
