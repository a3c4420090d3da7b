import { describe, expect, it } from 'vitest';
import type { JobConfig } from '../../../src/config/types.js';
import { FsbackupError } from '../../../src/errors.js';
import type { HostFacts } from '../../../src/plan/facts.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan } from '../../../src/plan/plan.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
  suits,
} from '../../support/plan-facts.js';

function plan(job: Partial<JobConfig> = {}, facts: Partial<HostFacts> = {}, force = false): Plan {
  return makePlan(aJob(job), hostFacts(facts), fakeDetectors(), { force });
}

function refusal(work: () => unknown): FsbackupError {
  try {
    work();
  } catch (error) {
    if (error instanceof FsbackupError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const BTRFS = { fstype: 'btrfs', majorMinor: '0:40', source: '/dev/vdb' } as const;

describe('the mode of a source', () => {
  it.each([
    ['ext4 in an image', {}, 'reflink', 'explicit', 'filesystem'],
    ['btrfs', BTRFS, 'btrfs', 'atomic', 'crash'],
  ] as const)('is decided by the storage: %s', (_, mount, provider, freezeMode, consistency) => {
    const { sources } = plan({}, { sources: [sourceFacts(aFilesystem(mount))] });
    expect(sources).toMatchObject([
      { provider, freezeMode, consistency, freezeModeReason: `it offers ${freezeMode}` },
    ]);
  });

  it.each([
    ['explicit', 'filesystem', 'it offers explicit and native and atomic, as configured'],
    [
      'native',
      'filesystem',
      'the configuration asks for it; `auto` would be explicit: it offers explicit and native and atomic',
    ],
    [
      'atomic',
      'crash',
      'the configuration asks for it; `auto` would be explicit: it offers explicit and native and atomic',
    ],
  ] as const)('is %s when the configuration asks for it, and worth %s', (freezeMode, consistency, why) => {
    const { sources } = plan({ sources: [aSource({ snapshot: 'command', freezeMode })] });
    expect(sources).toMatchObject([{ provider: 'command', freezeMode, consistency }]);
    expect(sources[0]?.freezeModeReason).toBe(why);
  });

  it('is none for a live copy, which is worth nothing even with a quiesced application', () => {
    const hook = { name: 'db', before: ['a'], after: ['b'], timeoutMs: 1000 };
    const live = plan({ sources: [aSource({ snapshot: 'none' })], quiesce: [hook] });
    expect(live.sources).toMatchObject([{ provider: 'none', freezeMode: 'none', consistency: 'none' }]);
    expect(live.windows).toEqual([]);
    expect(live.trees).toMatchObject([{ inside: '/srv' }]);
  });

  it('is worth as much as the application, when hooks bring it to rest', () => {
    const hook = { name: 'db', before: ['a'], after: ['b'], timeoutMs: 1000 };
    expect(plan({ quiesce: [hook] }).consistency).toBe('application');
  });

  it('is not worth more for a step that brings nothing to rest', () => {
    const told = { name: 'told', before: [], after: ['b'], timeoutMs: 1000 };
    expect(plan({ quiesce: [told] }).consistency).toBe('filesystem');
  });

  it('may not be explicit where the snapshot writes to what is frozen: that deadlocks', () => {
    const error = refusal(() =>
      plan(
        { sources: [aSource({ freezeMode: 'explicit' })] },
        { sources: [sourceFacts(aFilesystem(BTRFS))] },
      ),
    );
    expect(error).toMatchObject({ code: 'usage', hint: 'Set `freezeMode: atomic` for /srv.' });
    expect(error.message).toContain('deadlocks');
  });

  it('may not be one that the storage does not have', () => {
    const error = refusal(() => plan({ sources: [aSource({ freezeMode: 'native' })] }));
    expect(error).toMatchObject({ code: 'usage' });
    expect(error.hint).toContain('auto or explicit');
  });

  it('cannot be had where nothing can snapshot: refused with what would help', () => {
    const error = refusal(() => plan({}, { sources: [sourceFacts(aFilesystem({ fstype: 'xfs' }))] }));
    expect(error).toMatchObject({ code: 'notFrozen', exitCode: 20 });
    expect(error.message).toContain('btrfs: not of this kind; reflink: not of this kind');
    expect(error.hint).toContain('snapshot: none');
  });

  it('is not refused by what is asked for without a word of what else there is', () => {
    const error = refusal(() =>
      plan({ sources: [aSource({ snapshot: 'btrfs' })] }, { sources: [sourceFacts(aFilesystem())] }),
    );
    expect(error.hint).toContain('Leave out `snapshot: btrfs`');
    expect(error.hint).not.toContain('Put it on btrfs');
  });

  it('cannot be explicit on a type that no kernel freezes: refused by name', () => {
    const error = refusal(() =>
      plan(
        { sources: [aSource({ snapshot: 'command', freezeMode: 'explicit' })] },
        { sources: [sourceFacts(aFilesystem({ fstype: 'vfat' }))] },
      ),
    );
    expect(error).toMatchObject({ code: 'notFrozen' });
    expect(error.message).toContain('vfat');
  });
});

describe('sources on one filesystem', () => {
  it('share one snapshot', () => {
    const filesystem = aFilesystem();
    const shared = plan(
      { sources: [aSource({ path: '/srv/a' }), aSource({ path: '/srv/b' })] },
      { sources: [sourceFacts(filesystem, '/srv/a'), sourceFacts(filesystem, '/srv/b')] },
    );
    expect(shared.sources).toHaveLength(1);
    expect(shared.trees).toMatchObject([
      { path: '/srv/a', source: 0, inside: 'a' },
      { path: '/srv/b', source: 0, inside: 'b' },
    ]);
    expect(shared.windows).toEqual([{ freeze: [0], snapshots: [0] }]);
  });
});

describe('what is frozen together', () => {
  const upper = aFilesystem({ majorMinor: '7:2', mountpoint: '/upper' });
  const lower = aFilesystem({ majorMinor: '7:1', mountpoint: '/lower' });
  const layers = { '7:2': ['7:1'] };

  function stacked(writesTo: readonly string[]): Plan {
    return makePlan(
      aJob({
        sources: ['/lower', '/upper'].map((path) =>
          aSource({ path, snapshot: 'command', freezeMode: 'explicit' }),
        ),
      }),
      hostFacts({ sources: [sourceFacts(lower), sourceFacts(upper)], layers }),
      fakeDetectors({
        command: ({ mount }) => suits(['explicit'], mount.mountpoint === '/upper' ? writesTo : []),
      }),
      { force: false },
    );
  }

  it('is one group, the upper of a stack first', () => {
    const { windows, warnings } = stacked([]);
    expect(windows).toEqual([{ freeze: [1, 0], snapshots: [0, 1] }]);
    expect(warnings).toEqual([]);
  });

  it('is never what a snapshot of the group writes to: two groups, and a warning', () => {
    const { windows, warnings } = stacked(['7:1']);
    expect(windows).toEqual([
      { freeze: [1], snapshots: [1] },
      { freeze: [0], snapshots: [0] },
    ]);
    expect(warnings).toEqual([expect.stringContaining('not at one instant')]);
    expect(warnings[0]).toContain('/upper, then /lower');
  });

  it('counts a write to an image file as one to all filesystems below', () => {
    // 7:3 lies on 7:1, so a write to 7:3 needs 7:1 thawed.
    const { windows } = makePlan(
      aJob({ sources: ['/lower', '/upper'].map((path) => aSource({ path, snapshot: 'command' })) }),
      hostFacts({ sources: [sourceFacts(lower), sourceFacts(upper)], layers: { '7:3': ['7:1'] } }),
      fakeDetectors({
        command: ({ mount }) => suits(['explicit'], mount.mountpoint === '/upper' ? ['7:3'] : []),
      }),
      { force: false },
    );
    expect(windows).toHaveLength(2);
  });

  it('has an atomic snapshot in the same window when that writes nowhere near', () => {
    const { windows } = plan(
      { sources: [aSource(), aSource({ path: '/data' })] },
      { sources: [sourceFacts(aFilesystem()), sourceFacts(aFilesystem({ ...BTRFS, mountpoint: '/data' }))] },
    );
    expect(windows).toEqual([{ freeze: [0], snapshots: [0, 1] }]);
  });
});

describe('what fsbackup itself needs', () => {
  it.each([
    ['the root filesystem', { inUse: [{ what: 'the root filesystem', majorMinor: '7:1' }] }],
    ['standard output', { inUse: [{ what: 'standard output', majorMinor: '7:1' }] }],
    [
      'the state directory',
      { inUse: [{ what: 'the state directory', majorMinor: '7:9' }], layers: { '7:9': ['7:1'] } },
    ],
    [
      'the target /backup',
      { targets: [{ path: '/backup', realPath: '/backup', majorMinor: '7:1', mountpoint: '/backup' }] },
    ],
  ] as const)('is not frozen unless forced: %s', (what, facts) => {
    const error = refusal(() => plan({}, facts));
    expect(error).toMatchObject({ code: 'notFrozen', exitCode: 20 });
    expect(error.message).toContain(what);
    expect(error.hint).toContain('--force');

    expect(plan({}, facts, true).warnings).toEqual([expect.stringContaining(what)]);
  });

  it('does not matter where nothing is frozen', () => {
    const { warnings } = plan(
      {},
      {
        sources: [sourceFacts(aFilesystem(BTRFS))],
        inUse: [{ what: 'the root filesystem', majorMinor: '0:40' }],
      },
    );
    expect(warnings).toEqual([]);
  });
});

describe('a pattern that the engine of a target has nothing for', () => {
  const sources = [aSource({ exclude: ['*.tmp', 'cache**'] })];
  const target = { mustBeMountpoint: false, path: '/state/repository' } as const;

  it.each([
    ['restic', ['*.tmp', 'cache**']],
    ['borg', ['*.tmp', '/']],
  ] as const)('is refused before anything is stopped or frozen: %s', (engine, exclude) => {
    const job = { sources: [aSource({ exclude: [...exclude] })], targets: [{ ...target, engine }] };
    expect(refusal(() => plan(job))).toMatchObject({ code: 'usage', exitCode: 2 });
  });

  it('is let be where the engine has something for it', () => {
    expect(plan({ sources, targets: [{ ...target, engine: 'tar' }] }).targets).toHaveLength(1);
  });
});

describe('an exclude that leaves out nothing for how it is written', () => {
  const exclude = ['/srv/cache', '/srvx', 'sh:**/*.tmp', '*.tmp', '/cache'];

  it('is warned of, and told how it is meant', () => {
    expect(plan({ sources: [aSource({ exclude })] }).warnings).toEqual([
      'the exclude /srv/cache of /srv leaves out nothing: patterns are relative to the source, so write /cache',
      "the exclude sh:**/*.tmp of /srv leaves out nothing: patterns are rsync's, which knows none that begins with sh:",
    ]);
  });

  it('is let be where there is what it means', () => {
    const facts = { sources: [{ ...sourceFacts(aFilesystem()), hasOwnPathBelow: true }] };
    expect(plan({ sources: [aSource({ exclude: ['/srv/cache'] })] }, facts).warnings).toEqual([]);
    expect(plan({ sources: [aSource({ path: '/', exclude: ['/srv/cache'] })] }).warnings).toEqual([]);
  });
});

describe('the limit of a target', () => {
  const given = { repository: '', initialise: false, environment: {} };

  it.each([
    ['borg', '/mnt/disk/borg', 'restic'],
    ['borg', 'file:///mnt/disk/borg', 'restic'],
    ['borg', 'relative/borg', 'restic'],
    ['command', 'vault', 'commands.write'],
  ] as const)('is refused where nothing holds it, with a way out: %s to %s', (engine, repository, wayOut) => {
    const target = { path: '/c', engine, mustBeMountpoint: false, repository: { ...given, repository } };
    const error = refusal(() => plan({ targets: [{ ...target, limitBytesPerSecond: 2 ** 20 }] }));
    expect(error).toMatchObject({ code: 'usage', exitCode: 2 });
    expect(error.message).toContain('cannot have a limit');
    expect(error.hint).toContain(wayOut);
    expect(plan({ targets: [target] }).targets).toEqual([target]);
  });

  it.each([
    ['borg', 'ssh://backup@host:22/./borg'],
    ['borg', 'backup@host:borg'],
    ['restic', '/mnt/disk/restic'],
    ['rsync', 'root@host:/srv/backups'],
    ['tar', 'offsite'],
  ] as const)('is in the plan where it is held: %s to %s', (engine, repository) => {
    const repositorySettings = { ...given, repository };
    const target = { path: '/c', engine, mustBeMountpoint: false, repository: repositorySettings };
    const limited = { ...target, limitBytesPerSecond: 5 * 2 ** 20 };
    const made = plan({ targets: [limited] });
    expect(made.targets).toEqual([limited]);
    expect(made.steps.find(({ step }) => step === 'copy')?.detail).toMatch(/, at most 5 MiB\/s$/);
  });
});

describe('a target inside a source', () => {
  const inside = { path: '/srv/backup', realPath: '/srv/backup', majorMinor: '7:5', mountpoint: '/srv' };

  it('is refused', () => {
    expect(refusal(() => plan({}, { targets: [inside] }))).toMatchObject({ code: 'usage', exitCode: 2 });
  });

  it('is let be when it is excluded', () => {
    expect(plan({ sources: [aSource({ exclude: ['/backup'] })] }, { targets: [inside] }).trees).toHaveLength(
      1,
    );
  });

  it('is let be, and not backed up, on a filesystem of its own', () => {
    const filesystem = aFilesystem({ majorMinor: '7:5', mountpoint: '/srv/backup' });
    const { trees, warnings } = plan(
      { sources: [aSource({ recursive: true })] },
      {
        targets: [{ ...inside, mountpoint: '/srv/backup' }],
        sources: [
          sourceFacts(aFilesystem(), '/srv', [
            { kind: 'submount', path: '/srv/backup', fstype: 'ext4', filesystem },
          ]),
        ],
      },
    );
    expect(trees.map(({ path }) => path)).toEqual(['/srv']);
    expect(warnings).toEqual([]);
  });

  describe('on a filesystem below, and not all of it', () => {
    const home = aFilesystem({ majorMinor: '7:6', mountpoint: '/srv/home' });
    const facts = {
      targets: [{ ...inside, realPath: '/srv/home/b', path: '/srv/home/b', mountpoint: '/srv/home' }],
      sources: [
        sourceFacts(aFilesystem(), '/srv', [
          { kind: 'submount', path: '/srv/home', fstype: 'ext4', filesystem: home },
        ]),
      ],
    } as const;

    it.each([true, false])('leaves that out, and says so (recursive: %s)', (recursive) => {
      const { trees, warnings } = plan({ sources: [aSource({ recursive })] }, facts);
      expect(trees.map(({ path }) => path)).toEqual(['/srv']);
      expect(warnings).toEqual([
        '/srv/home (ext4 mounted there) below /srv is not in the backup: the target /srv/home/b lies in it; exclude that from the source to have the rest, or all of it',
      ]);
    });

    it('leaves nothing else out when it is excluded', () => {
      const { trees, warnings } = plan(
        { sources: [aSource({ recursive: true, exclude: ['/home/b/'] })] },
        facts,
      );
      expect(trees).toMatchObject([{ path: '/srv' }, { path: '/srv/home', exclude: ['/b/'] }]);
      expect(warnings).toEqual([]);
    });
  });
});

describe('what lies below a source', () => {
  const data = aFilesystem({ majorMinor: '7:5', mountpoint: '/srv/data' });
  const nested = [
    { kind: 'submount', path: '/srv/data', fstype: 'ext4', filesystem: data },
    { kind: 'submount', path: '/srv/scan', fstype: 'fuse.x', problem: 'it does not answer' },
  ] as const;
  const sources = [sourceFacts(aFilesystem(), '/srv', nested)];

  it('is named when it is not asked for', () => {
    const { trees, leftOut, warnings } = plan({}, { sources });
    expect(trees).toHaveLength(1);
    expect(leftOut).toEqual(['/srv/data', '/srv/scan']);
    expect(warnings).toEqual([
      '/srv/data (ext4 mounted there) below /srv is not in the backup; set `recursive: true` or exclude it',
      '/srv/scan (fuse.x mounted there) below /srv is not in the backup; set `recursive: true` or exclude it',
    ]);
  });

  it('is no matter when it is excluded', () => {
    const exclude = ['/data/', 'sc*'];
    expect(plan({ sources: [aSource({ exclude })] }, { sources }).warnings).toEqual([]);
  });

  it('is snapshotted too with recursive, with the patterns that reach it, and named when it cannot be', () => {
    const exclude = ['*.tmp', '/data/cache', '/other'];
    const recursive = plan({ sources: [aSource({ recursive: true, exclude })] }, { sources });
    expect(recursive.trees).toEqual([
      { path: '/srv', source: 0, inside: '', exclude },
      { path: '/srv/data', source: 1, inside: '', exclude: ['*.tmp', '/cache'] },
    ]);
    expect(recursive.windows).toEqual([{ freeze: [0, 1], snapshots: [0, 1] }]);
    expect(recursive.warnings).toEqual([
      '/srv/scan (fuse.x mounted there) below /srv is not in the backup: it does not answer',
    ]);
  });

  it('is named when nothing can snapshot it', () => {
    const tmpfs = aFilesystem({ fstype: 'overlay', mountpoint: '/srv/o', majorMinor: '0:50' });
    const { warnings } = plan(
      { sources: [aSource({ recursive: true })] },
      {
        sources: [
          sourceFacts(aFilesystem(), '/srv', [
            { kind: 'submount', path: '/srv/o', fstype: 'overlay', filesystem: tmpfs },
          ]),
        ],
      },
    );
    expect(warnings).toEqual([expect.stringContaining('nothing can snapshot /srv/o')]);
  });
});

describe('the plan', () => {
  it('has the dead-man’s times, the heartbeat at half the timeout', () => {
    expect(plan().freeze).toEqual({ timeoutMs: 10_000, heartbeatMs: 5000, maxHoldMs: 60_000 });
    const none = plan({ freeze: { timeoutMs: null, maxHoldMs: 5000 } });
    expect(none.freeze).toEqual({ timeoutMs: null, heartbeatMs: null, maxHoldMs: 5000 });
  });

  it('warns of a PID namespace, where something is frozen', () => {
    expect(plan({}, { initialPidNamespace: false }).warnings).toEqual([
      expect.stringContaining('PID namespace'),
    ]);
    const btrfs = [sourceFacts(aFilesystem(BTRFS))];
    expect(plan({}, { initialPidNamespace: false, sources: btrfs }).warnings).toEqual([]);
  });

  it('tells the steps in order and survives JSON', () => {
    const hook = { name: 'db', before: ['a'], after: ['b'], timeoutMs: 1000 };
    const whole = plan({ quiesce: [hook] });
    expect(whole.steps.map(({ step, frozen }) => (frozen ? `*${step}` : step))).toEqual([
      'lock',
      'recover',
      'preflight',
      'quiesce',
      'sync',
      '*freeze',
      '*snapshot',
      '*thaw',
      'unquiesce',
      'expose',
      'copy',
      'remove',
      'record',
    ]);
    expect(JSON.parse(JSON.stringify(whole))).toEqual(whole);
  });
});
