import { describe, expect, it } from 'vitest';
import { examineJob, type ExaminedJob, type ExaminingHost } from '../../../src/doctor/examine-job.js';
import { FsbackupError } from '../../../src/errors.js';
import type { HostFacts } from '../../../src/plan/facts.js';
import type { SnapshotProvider } from '../../../src/snapshots/provider.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
  suits,
} from '../../support/plan-facts.js';

/** A host on which `auto` takes commands: they need neither images nor spaces to be looked at. */
function aHost(facts: HostFacts, overrides: Partial<ExaminingHost> = {}): ExaminingHost {
  const { named } = fakeDetectors({ command: () => suits(['explicit']) });
  return {
    plan: {
      detectors: { auto: [named('command', undefined)], named },
      gatherFacts: async ({ targets }) => (targets.length > 0 ? facts : { ...facts, targets: [] }),
    },
    providerOf: () => ({ prepare: async () => [] }),
    refuseFrozenSources: async () => undefined,
    ...overrides,
  };
}

function examined(overrides: Partial<ExaminedJob> = {}): ExaminedJob {
  return { job: aJob(), isConfigured: true, isAsked: true, ...overrides };
}

function statuses(findings: readonly { check: string; status: string }[]): string[] {
  return findings.map(({ check, status }) => `${check} ${status}`);
}

it('tells of a source that somebody holds frozen', async () => {
  const frozen = new FsbackupError('notFrozen', '/srv is frozen', { hint: 'Let its owner thaw it.' });
  const host = aHost(hostFacts(), { refuseFrozenSources: () => Promise.reject(frozen) });
  const { mountpoints } = await examineJob(examined(), host);
  expect(mountpoints[0]?.findings).toContainEqual(
    expect.objectContaining({ check: 'mode', status: 'problem', summary: '/srv is frozen' }),
  );
});

describe('the examination of a job', () => {
  const recursive = aJob({ sources: [aSource({ recursive: true })] });
  const unmounted = ['tank/idle'];

  it('tells the mode of each source with it, and of the job what its plan warns of', async () => {
    const facts = hostFacts({ sources: [{ ...sourceFacts(aFilesystem()), unmounted }] });
    const { mountpoints, findings } = await examineJob(examined({ job: recursive }), aHost(facts));
    expect(mountpoints).toMatchObject([
      {
        mountpoint: '/srv',
        job: 'srv',
        provider: 'command',
        freezeMode: 'explicit',
        consistency: 'filesystem',
      },
    ]);
    expect(statuses(mountpoints[0]?.findings ?? [])).toEqual(['mode ok', 'snapshot ok']);
    expect(findings).toMatchObject([
      { check: 'job-srv', status: 'warning', summary: expect.stringContaining('tank/idle') },
    ]);
  });

  it('says of a filesystem that was named alone what the plan warns of, but for what lies below it', async () => {
    const below = { kind: 'submount', path: '/srv/below', fstype: 'ext4' } as const;
    const facts = hostFacts({ sources: [{ ...sourceFacts(aFilesystem(), '/srv', [below]), unmounted }] });
    const named = examined({ isConfigured: false, job: recursive });
    const { mountpoints, findings } = await examineJob(named, aHost(facts));
    expect(JSON.stringify(mountpoints[0]?.findings)).toContain('tank/idle');
    expect(JSON.stringify(mountpoints)).not.toContain('/srv/below');
    expect(findings).toEqual([]);
    const configured = await examineJob(examined(), aHost(facts));
    expect(JSON.stringify(configured.findings)).toContain('/srv/below');
  });

  it('shows the mode also where a run would refuse to freeze, once', async () => {
    const facts = hostFacts({ inUse: [{ what: 'the run directory', majorMinor: '7:1' }] });
    const { mountpoints, findings } = await examineJob(examined(), aHost(facts));
    expect(mountpoints).toMatchObject([{ freezeMode: 'explicit' }]);
    expect(statuses(mountpoints[0]?.findings ?? [])).toEqual(['mode problem', 'snapshot ok']);
    expect(mountpoints[0]?.findings[0]?.summary).toContain('the run directory is on /srv');
    expect(JSON.stringify(findings)).not.toContain('the run directory');
  });

  it('passes on what the provider says of tools and room', async () => {
    const failure = new FsbackupError('snapshotFailed', 'too little room', { hint: 'Free some.' });
    const host = aHost(hostFacts(), { providerOf: () => ({ prepare: () => Promise.reject(failure) }) });
    const { mountpoints } = await examineJob(examined(), host);
    expect(mountpoints[0]?.findings[1]).toMatchObject({
      check: 'snapshot',
      status: 'problem',
      summary: 'too little room',
      detail: 'Free some.',
    });
  });

  it('asks for the sources of a window together, as a run does, and blames those that are to blame', async () => {
    const room = new Map([
      ['/a', 6],
      ['/b', 3],
      ['/c', 50],
    ]);
    const asked: string[][] = [];
    // Ten is what there is.
    const prepare: SnapshotProvider['prepare'] = async (requests) => {
      const mountpoints = requests.map(({ filesystem }) => filesystem.mount.mountpoint);
      asked.push(mountpoints);
      expect(new Set(requests.map(({ name }) => name)).size).toBe(requests.length);
      const needed = mountpoints.reduce((sum, mountpoint) => sum + (room.get(mountpoint) ?? 0), 0);
      if (needed > 10)
        throw new FsbackupError('snapshotFailed', `no room for ${needed}`, { hint: 'Free it.' });
      return [];
    };
    const examine = async (...mountpoints: string[]): Promise<[string, string][]> => {
      asked.length = 0;
      const sources = mountpoints.map((mountpoint, index) =>
        sourceFacts(aFilesystem({ mountpoint, majorMinor: `7:${index + 10}` })),
      );
      const job = aJob({ sources: mountpoints.map((path) => aSource({ path })) });
      const host = aHost(hostFacts({ sources }), { providerOf: () => ({ prepare }) });
      const { mountpoints: reports } = await examineJob(examined({ job }), host);
      return reports.map(({ mountpoint, findings }) => [
        mountpoint,
        findings.find(({ check }) => check === 'snapshot')?.summary ?? '',
      ]);
    };
    expect(await examine('/a', '/b')).toEqual([
      ['/a', 'command could snapshot it now'],
      ['/b', 'command could snapshot it now'],
    ]);
    expect(asked).toEqual([['/a', '/b']]);
    room.set('/b', 5);
    expect(await examine('/a', '/b')).toEqual([
      ['/a', 'no room for 11'],
      ['/b', 'no room for 11'],
    ]);
    expect(await examine('/a', '/c')).toEqual([
      ['/a', 'command could snapshot it now'],
      ['/c', 'no room for 50'],
    ]);
    expect(await examine('/a', '/b', '/c')).toEqual([
      ['/a', 'no room for 11'],
      ['/b', 'no room for 11'],
      ['/c', 'no room for 50'],
    ]);
  });

  it('is no problem where nobody asked about what cannot be snapshotted', async () => {
    const facts = hostFacts({ sources: [sourceFacts(aFilesystem({ fstype: 'vfat' }))] });
    const host = aHost(facts);
    const asked = await examineJob(examined({ isConfigured: false }), host);
    const found = await examineJob(examined({ isConfigured: false, isAsked: false }), host);
    expect(asked.mountpoints).toMatchObject([{ provider: null, findings: [{ status: 'problem' }] }]);
    expect(found.mountpoints).toMatchObject([{ provider: null, findings: [{ status: 'warning' }] }]);
  });

  it('tells of the job as a whole what no source is to blame for', async () => {
    const missing = new FsbackupError('usage', '/backup does not exist', { hint: 'Make it.' });
    const sources = [aSource({ path: '/srv' })];
    const plan = aHost(hostFacts()).plan;
    const host = aHost(hostFacts(), {
      plan: {
        ...plan,
        gatherFacts: async ({ targets }) => {
          if (targets.length > 0) throw missing;
          return hostFacts({ targets: [] });
        },
      },
    });
    // A target that is missing is told of the target, and hides nothing of the sources.
    const { mountpoints } = await examineJob(examined({ job: aJob({ sources }) }), host);
    expect(mountpoints).toMatchObject([{ provider: 'command' }]);

    const inside = hostFacts({
      targets: [{ path: '/srv/b', realPath: '/srv/b', majorMinor: '7:1', mountpoint: '/srv' }],
    });
    const { findings } = await examineJob(examined(), aHost(inside));
    expect(findings).toMatchObject([{ check: 'job-srv', status: 'problem' }]);
  });
});
