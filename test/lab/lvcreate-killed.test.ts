import { readFile, rm, writeFile } from 'node:fs/promises';
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
/** Before those of LVM in the PATH of what fsbackup starts. */
const WRAPPER = '/usr/local/sbin/lvcreate';
/** What device-mapper is told to do; all else are questions. */
const CHANGES =
  /^\d+ +ioctl\(\d+, DM_(?:DEV_CREATE|DEV_REMOVE|DEV_RENAME|DEV_SUSPEND|TABLE_LOAD|TARGET_MSG)\b/;

/** When lvcreate is killed: so long after the device of a `suspendedFile` is suspended. */
interface Moment {
  afterMs: number;
  suspended: string;
}

/** Has lvcreate be killed as it makes this ioctl, counted from 1; undefined: none. All of them go to a file. */
async function wrapLvcreate(trace: string, killedAt: number | undefined): Promise<void> {
  const inject = killedAt === undefined ? '' : `-e inject=ioctl:signal=KILL:when=${killedAt} `;
  const command = `exec strace -f -qq -e trace=ioctl ${inject}-o '${trace}' lvm lvcreate "$@"`;
  await writeFile(WRAPPER, `#!/bin/sh\n${command}\n`, { mode: 0o755 });
}

async function killAt(group: number, { afterMs, suspended }: Moment, ended: AbortSignal): Promise<void> {
  while (!ended.aborted && !isSuspended(suspended)) await setImmediate();
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
  moment?: Moment,
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
          if (moment !== undefined) killing = killAt(group, moment, ended.signal);
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

describeInLab({}, 'an lvcreate that is killed', ({ disks, share }) => {
  let made: DeadmanLab | undefined;
  let lab: DeadmanLab;
  let runDirectory: string | undefined;
  let before: string[];

  /** The volumes as LVM knows them, and all devices of device-mapper: it may have some that LVM does not know. */
  async function volumes(): Promise<string[]> {
    const known = (await lab.group.volumes()).map(({ lv, role }) => `${lv} ${role.join(',')}`);
    const devices = (await must('dmsetup', 'ls')).split('\n').map((line) => line.split('\t')[0] ?? '');
    return [...known, ...devices].toSorted();
  }

  beforeAll(async () => {
    runDirectory = process.env['FSBACKUP_RUN_DIR'];
  });
  afterEach(async () => {
    await rm(WRAPPER, { force: true });
    if (runDirectory === undefined) delete process.env['FSBACKUP_RUN_DIR'];
    else process.env['FSBACKUP_RUN_DIR'] = runDirectory;
    const done = made;
    made = undefined;
    await done?.dispose();
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

  /** The numbers of the ioctls by which lvcreate changes something, and of those after them. */
  async function momentsOf(kind: 'classic' | 'thin'): Promise<number[]> {
    const trace = lab.file('trace');
    await wrapLvcreate(trace, undefined);
    expect(resumedOf(await takeAndKill(lab.volume.mountpoint, `whole-${kind}`))).toEqual([]);
    const calls = (await readFile(trace, 'utf8')).split('\n').filter((line) => line.includes('ioctl('));
    const changes = calls.flatMap((line, index) => (CHANGES.test(line) ? [index + 1] : []));
    return [...new Set(changes.flatMap((number) => [number, number + 1]))];
  }

  it.each(['classic', 'thin'] as const)(
    '%s: at each step leaves a volume that is written to, and no snapshot',
    async (kind) => {
      await make(kind);
      const moments = share(await momentsOf(kind));
      const caught: string[] = [];
      for (const moment of moments) {
        lab.mark();
        await wrapLvcreate(lab.file('trace'), moment);
        const outcomes = await takeAndKill(lab.volume.mountpoint, `killed-${kind}-${moment}`);
        const resumed = resumedOf(outcomes);
        if (resumed.length > 0) caught.push(`${moment}: ${resumed.join(' ')}`);
        await expectNothingLeft();
        expect(await lab.stallMs()).toBeLessThan(MARGIN_MS);
      }
      console.log(`${kind}: killed ${moments.length} times, caught suspended: ${caught.join('; ')}`);
      expect(caught.length).toBeGreaterThan(0);
      // The pool, too, takes the next one.
      await rm(WRAPPER);
      expect(resumedOf(await takeAndKill(lab.volume.mountpoint, `after-${kind}`))).toEqual([]);
      expect(await lab.isSound()).toBe(true);
    },
    // Some 30 snapshots, each with all that a run does for it.
    900_000,
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
