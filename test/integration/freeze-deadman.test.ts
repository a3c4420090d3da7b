import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness } from '../support/freeze-harness.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

type Party = 'cli' | 'watchdog' | 'second';
type Attack = readonly [Party, 'SIGKILL' | 'SIGSTOP'];

const PARTIES = ['cli', 'watchdog', 'second'] as const;
const SIGNALS = ['SIGKILL', 'SIGSTOP'] as const;

const singles: Attack[] = PARTIES.flatMap((party) => SIGNALS.map((signal) => [party, signal] as const));
const pairs: [Attack, Attack][] = singles.flatMap((first) =>
  singles.filter((second) => second[0] !== first[0]).map((second): [Attack, Attack] => [first, second]),
);

describeNeeding(['root', 'loop', 'ext4'], 'any two of command, watchdog and second may die or stop', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let harness: FreezeHarness;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    await harness.dispose();
  });

  async function freeze(timeoutSeconds: number): Promise<Record<Party, number>> {
    const cli = harness.startFsbackup(
      'freeze',
      '--timeout',
      String(timeoutSeconds),
      disk.mountpoint,
      '--',
      'sleep',
      // Longer than any patience here: its end would thaw too.
      '90',
    );
    const { watchdog, second } = await harness.held(disk.mountpoint);
    if (cli.pid === undefined) throw new Error('the command did not start');
    return { cli: cli.pid, watchdog, second };
  }

  /** The record's status line, which the second is as able to write as the first. */
  function status(): string {
    const record = readFileSync(`${disks.directory}/state/run/superblocks/${disk.majorMinor}`, 'utf8');
    return record.slice(0, 64).trim();
  }

  it.each(pairs.map(([first, second]) => ({ first, second, name: [...first, ...second].join(' ') })))(
    '$name: thawed within the timeout',
    async ({ first, second }) => {
      const pids = await freeze(2);
      process.kill(pids[first[0]], first[1]);
      process.kill(pids[second[0]], second[1]);
      // The creator of this file gets through when the filesystem is thawed: a thaw that never comes fails the test.
      await harness.write(disk.mountpoint);
      expect(await harness.blocksWriters(disk.mountpoint)).toBe(false);
    },
  );

  it.each([
    { attack: ['cli', 'SIGKILL'], lost: 'holder-died' },
    { attack: ['watchdog', 'SIGKILL'], lost: 'guard-died' },
  ] as const)('$attack alone: thawed at once, not at the deadline', async ({ attack, lost }) => {
    const pids = await freeze(30);
    process.kill(pids[attack[0]], attack[1]);
    await harness.write(disk.mountpoint);
    // Thirty seconds are far from over, so it was no deadline; and the loss is on record.
    await eventually('the record of the loss', () => status().startsWith(`lost ${lost} `));
  });

  it('the command killed beside a stopped watchdog: the second thaws at once', async () => {
    const { cli, watchdog } = await freeze(30);
    process.kill(watchdog, 'SIGSTOP');
    process.kill(cli, 'SIGKILL');
    await harness.write(disk.mountpoint);
    await eventually('the record of the loss', () => status().startsWith('lost holder-died '));
  });

  it('both guards killed: the command itself thaws at once', async () => {
    const { watchdog, second } = await freeze(30);
    process.kill(second, 'SIGKILL');
    process.kill(watchdog, 'SIGKILL');
    await harness.write(disk.mountpoint);
    await eventually('the record of the loss', () => status().startsWith('lost guard-died '));
  });

  it.each([{ attack: ['cli', 'SIGSTOP'] }, { attack: ['watchdog', 'SIGSTOP'] }] as const)(
    '$attack alone: thawed by the timeout',
    async ({ attack }) => {
      const pids = await freeze(2);
      process.kill(pids[attack[0]], attack[1]);
      await harness.write(disk.mountpoint);
      await eventually('the record of the loss', () => /^lost (timeout|guard-died) /.test(status()));
    },
  );

  it.each(SIGNALS)('%s of the second alone: held on, and thawed when the command ends', async (signal) => {
    const cli = harness.startFsbackup('freeze', '--timeout', '2', disk.mountpoint, '--', 'sleep', '5');
    const { second } = await harness.held(disk.mountpoint);
    process.kill(second, signal);
    // The heartbeat goes on past the timeout.
    expect(await ended(cli)).toBe(0);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(false);
    expect(status()).toBe('thawed');
  });

  it('the command learns of a loss that came while it was stopped', async () => {
    const cli = harness.startFsbackup('freeze', '--timeout', '2', disk.mountpoint, '--', 'sleep', '4');
    await harness.held(disk.mountpoint);
    cli.kill('SIGSTOP');
    await harness.write(disk.mountpoint);
    cli.kill('SIGCONT');
    expect(await ended(cli)).toBe(21);
  });

  it('the guards end once the command has, and leave nothing', async () => {
    const pids = await freeze(5);
    process.kill(pids.cli, 'SIGKILL');
    await harness.write(disk.mountpoint);
    await eventually('both guards to end', () => {
      const gone = (pid: number): boolean => {
        try {
          return /^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
        } catch {
          return true;
        }
      };
      return gone(pids.watchdog) && gone(pids.second);
    });
  });
});
