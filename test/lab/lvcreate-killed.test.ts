import process from 'node:process';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import type { DeviceOutcome } from '../../src/freeze/freezer.js';
import { findGuardedDevices } from '../../src/freeze/guarded-devices.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { readLogicalVolumes } from '../../src/system/lvm.js';
import { DeadmanLab, MARGIN_MS } from '../support/deadman-lab.js';
import { isSuspended, suspendedDevices, suspendedFile } from '../support/device-mapper.js';
import { describeInLab } from '../support/lab.js';
import { must } from '../support/throwaway-filesystem.js';

const OPTIONS = { timeoutMs: 20_000, maxHoldMs: 60_000 };
/** What lvcreate takes in an emulated guest, about. */
const LVCREATE_MS = 1200;
/** From the suspension of the origin to its resumption, about: some 40 to 90 ms were seen. */
const SUSPENDED_MS = 40;

/** When lvcreate is killed: so long after its start, or after the device of a `suspendedFile` is suspended. */
interface Moment {
  afterMs: number;
  suspended?: string;
}

async function killAt(group: number, { afterMs, suspended }: Moment, ended: AbortSignal): Promise<void> {
  const isDue = (): boolean => suspended === undefined || ended.aborted || isSuspended(suspended);
  while (!isDue()) await setImmediate();
  await sleep(afterMs);
  if (!ended.aborted) process.kill(-group, 'SIGKILL');
}

/**
 * Takes a snapshot as a run does, in this process, with an lvcreate that is killed; then removes all of it as `recover`
 * does. Resolves to what became of the devices.
 */
async function takeAndKill(
  mountpoint: string,
  name: string,
  moment: Moment,
): Promise<readonly DeviceOutcome[]> {
  const readVolumes = () => readLogicalVolumes();
  const { filesystem } = await readFilesystemFacts(mountpoint, { readVolumes });
  const lvm = { size: { bytes: 16 * 2 ** 20 }, extend: false, poolThresholdPercent: 90 };
  const request = { filesystem, name, freezeMode: 'native', runId: 'run', lvm } as const;
  const refs = await providerByName('lvm').prepare([request]);
  const devices = await findGuardedDevices([filesystem]);
  const freezer = await armFreezer({ targets: [], devices }, OPTIONS);
  let killing: Promise<void> | undefined;
  let outcomes: readonly DeviceOutcome[];
  const ended = new AbortController();
  try {
    await freezer.freeze();
    const watchCommand = () => {
      const watch = freezer.watchCommand();
      return {
        started: (group: number) => {
          watch.started(group);
          killing = killAt(group, moment, ended.signal);
        },
        ended: () => {
          ended.abort();
          watch.ended();
        },
      };
    };
    const making = providerByName('lvm').create(refs, { signal: freezer.lost, watchCommand });
    await making.catch(() => undefined);
    await killing;
    outcomes = (await freezer.thaw()).devices;
  } finally {
    await freezer.close();
  }
  for (const ref of refs) await providerByName('lvm').remove(ref);
  return outcomes;
}

function resumedOf(outcomes: readonly DeviceOutcome[]): string[] {
  return outcomes.filter(({ resumed }) => resumed).map(({ device }) => device.name);
}

describeInLab({}, 'an lvcreate that is killed', ({ disks }) => {
  let made: DeadmanLab | undefined;
  let lab: DeadmanLab;
  let runDirectory: string | undefined;
  let before: string[];

  async function volumes(): Promise<string[]> {
    return (await lab.group.volumes()).map(({ lv, role }) => `${lv} ${role.join(',')}`).toSorted();
  }

  beforeAll(async () => {
    runDirectory = process.env['FSBACKUP_RUN_DIR'];
  });
  afterEach(async () => {
    await made?.dispose();
    made = undefined;
    if (runDirectory === undefined) delete process.env['FSBACKUP_RUN_DIR'];
    else process.env['FSBACKUP_RUN_DIR'] = runDirectory;
  });
  afterAll(() => {
    expect(process.env['FSBACKUP_RUN_DIR']).toBe(runDirectory);
  });

  async function make(kind: 'classic' | 'thin'): Promise<void> {
    lab = await DeadmanLab.make('deadman', disks[0] ?? '', kind === 'thin' ? { pool: 'pool' } : {});
    made = lab;
    process.env['FSBACKUP_RUN_DIR'] = lab.file('run');
    before = await volumes();
  }

  /** Nothing suspended, nothing of ours left, and the writer gets on. */
  async function expectNothingLeft(): Promise<void> {
    expect(await suspendedDevices()).toEqual([]);
    expect(await volumes()).toEqual(before);
    await lab.stallMs();
  }

  it.each(['classic', 'thin'] as const)(
    '%s: leaves a volume that is written to, and no snapshot',
    async (kind) => {
      await make(kind);
      const caught: string[] = [];
      for (let round = 0; round < 10; round += 1) {
        lab.mark();
        // Half of them anywhere, half where it hurts: at random they would seldom meet.
        const moment =
          round % 2 === 0
            ? { afterMs: Math.random() * LVCREATE_MS }
            : { afterMs: Math.random() * SUSPENDED_MS, suspended: lab.suspended };
        const outcomes = await takeAndKill(lab.volume.mountpoint, `killed-${kind}-${round}`, moment);
        const resumed = resumedOf(outcomes);
        const when = `${'suspended' in moment ? 'suspension' : 'start'} + ${moment.afterMs.toFixed(0)} ms`;
        if (resumed.length > 0) caught.push(`${when}: ${resumed.join(' ')}`);
        await expectNothingLeft();
        expect(await lab.stallMs()).toBeLessThan(MARGIN_MS);
      }
      console.log(`${kind}: caught suspended ${caught.length} times of 10: ${caught.join('; ')}`);
      expect(caught.length).toBeGreaterThan(0);
      expect(await lab.isSound()).toBe(true);
    },
  );

  it('leaves the other snapshots of the origin as they were, whichever were suspended with it', async () => {
    await make('classic');
    for (const name of ['old1', 'old2']) {
      await must('lvcreate', '--quiet', '--yes', '-s', '-L', '32m', '-n', name, 'deadman/srv');
    }
    before = await volumes();
    const caught = new Set<string>();
    for (const name of ['old1', 'old1-cow', 'old2']) {
      const suspended = await suspendedFile(`/dev/mapper/deadman-${name}`);
      const moment = { afterMs: 0, suspended };
      for (const one of resumedOf(await takeAndKill(lab.volume.mountpoint, `beside-${name}`, moment)))
        caught.add(one);
      await expectNothingLeft();
    }
    console.log(`others: caught suspended: ${[...caught].join(' ')}`);
    expect([...caught].some((name) => name.startsWith('deadman-old'))).toBe(true);
    const read = ['if=/dev/deadman/old1', 'of=/dev/null', 'bs=1M', 'iflag=direct', 'status=none'];
    await must('dd', ...read);
    for (const { lv, isInvalid } of await lab.group.volumes())
      expect({ lv, isInvalid }).toEqual({ lv, isInvalid: false });
    expect(await lab.isSound()).toBe(true);
  });
});
