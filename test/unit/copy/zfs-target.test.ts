import { describe, expect, it } from 'vitest';
import { atPlaceOf, parseZfsPlace } from '../../../src/copy/zfs/zfs-target.js';

describe('a dataset as a target', () => {
  it('is on this host, or on another one', () => {
    expect(parseZfsPlace('tank/backups')).toEqual({ host: undefined, dataset: 'tank/backups' });
    expect(parseZfsPlace('ssh://root@nas/tank/b')).toEqual({ host: 'root@nas', dataset: 'tank/b' });
  });

  it.each([
    '/tank/backups',
    'tank/',
    'tank/a b',
    'ssh://-oProxyCommand=x/tank',
    'ssh://nas',
    '-tank',
    'tank@x',
    "tank/a'b",
  ])('is not %s', (repository) => {
    expect(parseZfsPlace(repository)).toBeUndefined();
  });

  it('gets commands that the shell at the other end of ssh does not take apart', () => {
    expect(atPlaceOf({ host: undefined }, ['zfs', 'list'])).toEqual(['zfs', 'list']);
    expect(atPlaceOf({ host: 'nas' }, ['zfs', 'get', "a'b; rm"]).at(-1)).toBe(
      String.raw`'zfs' 'get' 'a'\''b; rm'`,
    );
  });
});
