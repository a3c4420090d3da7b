import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { runCommand } from '../../src/system/run-command.js';
import { isSuspended, resumeAllDevices, suspendedDevices, suspendedFile } from './device-mapper.js';
import { eventually, isGuard } from './freeze-harness.js';
import { FsbackupCli, type StartedCli } from './fsbackup-cli.js';
import { startLogWriter, type LogWriter } from './log-writer.js';
import { LabVolumeGroup, type LabVolume, type LabVolumeOptions } from './lvm-lab.js';
import { COMMANDS_AT, MAX_COMMANDS } from './page-layout.js';
import { must } from './throwaway-filesystem.js';

/** How much later than it should a resume may be seen by the writer, in an emulated guest with other things to do. */
export const MARGIN_MS = 12_000;
/**
 * Of a job that says nothing else. Until a snapshot script has suspended the volume, and between two heartbeats, an emulated
 * guest beside other work was seen to need more than three seconds.
 */
export const TIMEOUT_MS = 15_000;

export interface JobTimes {
  timeout?: string;
  maxHold?: string;
  freezeMode?: 'native' | 'explicit';
}

/**
 * The pids of the guards that run, by what they call themselves. Those before them look after the proof that nobody holds
 * the origin frozen, and know of no device.
 */
export function guards(): { watchdog: number; second: number } {
  const pidOf = (name: string): number =>
    Number(
      readdirSync('/proc').findLast((pid) => {
        if (!/^\d+$/.test(pid) || !isGuard(Number(pid))) return false;
        return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name;
      }),
    );
  return { watchdog: pidOf('qsentry'), second: pidOf('vigil') };
}

/** The process groups that the command line has published to the watchdog. */
function publishedGroups(): number[] {
  const page = readFileSync(`/proc/${guards().watchdog}/fd/4`);
  return Array.from({ length: MAX_COMMANDS }, (_, index) => page.readInt32LE(COMMANDS_AT + 4 * index));
}

/** Ends a group's processes. One that is gone is no error. */
function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // ESRCH.
  }
}

/**
 * A mounted logical volume with a writer that fsyncs each record, and jobs whose snapshot command does what a test
 * says: it may suspend the volume's device, and hang.
 */
export class DeadmanLab {
  readonly group: LabVolumeGroup;
  readonly volume: LabVolume;
  readonly cli: FsbackupCli;
  readonly writer: LogWriter;
  /** See `isSuspended`: of the volume's device. */
  readonly suspended: string;
  readonly #target: string;
  #since = 0;

  private constructor(group: LabVolumeGroup, volume: LabVolume, suspended: string, writer: LogWriter) {
    this.group = group;
    this.volume = volume;
    this.suspended = suspended;
    this.writer = writer;
    this.cli = new FsbackupCli(this.file('fsbackup'));
    this.#target = this.file('backups');
  }

  /** Makes the group `vg` over one disk, and the volume. */
  static async make(
    vg: string,
    disk: string,
    volumeOptions: Partial<LabVolumeOptions> = {},
    mountOf = async (volume: LabVolume): Promise<LabVolume> => volume,
  ): Promise<DeadmanLab> {
    const group = await LabVolumeGroup.make(vg, [disk]);
    let writer: LogWriter | undefined;
    try {
      if (volumeOptions.pool !== undefined) await group.pool(volumeOptions.pool, 600);
      const made = await group.volume({ lv: 'srv', fstype: 'ext4', sizeMiB: 128, ...volumeOptions });
      const volume = await mountOf(made);
      writer = startLogWriter(path.join(volume.mountpoint, 'records'));
      const lab = new DeadmanLab(group, volume, await suspendedFile(made.device), writer);
      await mkdir(lab.#target);
      await mkdir(lab.file('fsbackup'));
      await writer.acknowledged(3);
      return lab;
    } catch (error) {
      await writer?.stop().catch(() => undefined);
      await group.dispose();
      throw error;
    }
  }

  /** A file of the test's own, on no filesystem that is frozen. */
  file(name: string): string {
    return path.join(this.group.directory, name);
  }

  /** The process group that the last snapshot script said it is. */
  get commandGroup(): number {
    return Number(readFileSync(this.file('group'), 'utf8'));
  }

  /** Whether a job's `remove` command was called: its snapshot was discarded. */
  get wasRemoved(): boolean {
    return existsSync(this.file('removed'));
  }

  /** The arguments of `run` for a job by the command provider, `script` being what makes the snapshot. */
  async job(
    script: string,
    { timeout = `${TIMEOUT_MS}ms`, maxHold = '60s', freezeMode = 'native' }: JobTimes = {},
  ) {
    const file = this.file('config.yaml');
    const said = this.file('group');
    for (const old of [said, this.file('removed'), this.file('outlived')]) rmSync(old, { force: true });
    const commands = {
      create: ['sh', '-c', `echo $$ > ${said}; ${script}`],
      expose: ['false', '{directory}'],
      remove: ['touch', this.file('removed')],
    };
    const source = { path: this.volume.mountpoint, snapshot: 'command', freezeMode, commands };
    const jobs = {
      srv: { sources: [source], targets: [this.#target], attempts: 1, freeze: { timeout, maxHold } },
    };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    this.mark();
    return ['run', 'srv', '--config', file, '--json'];
  }

  /**
   * A script that suspends the volume by `how`, hangs, and tells in the file `outlived` when it is still there once the
   * device runs again.
   */
  hang(how = `dmsetup suspend ${this.group.vg}-srv`): string {
    const look = `read -r s < ${this.suspended} && [ "$s" = 1 ]`;
    return `${how}; while ${look}; do sleep 0.05; done; echo yes > ${this.file('outlived')}; sleep 600 & wait`;
  }

  /** Starts a job and waits until its snapshot command has suspended the volume. */
  async suspendedBy(args: readonly string[]): Promise<StartedCli> {
    const started = this.cli.start(...args);
    await eventually('the volume to be suspended', () => {
      if (started.hasEnded) throw new Error(`fsbackup ended before: ${started.output}`);
      // Until its group is published nobody can kill it by name: settle.test.ts shows what becomes of it then.
      return isSuspended(this.suspended) && publishedGroups().includes(this.commandGroup);
    });
    return started;
  }

  /** From now on stalls count. */
  mark(): void {
    this.#since = this.writer.acknowledgements.length;
  }

  /** The longest time between two records that were on the disk, since the mark or the last job. The writer goes on. */
  async stallMs(): Promise<number> {
    const { acknowledgements } = this.writer;
    await this.writer.acknowledged(acknowledgements.length + 3);
    const times = acknowledgements.slice(Math.max(0, this.#since - 1)).map((one) => one.acknowledgedMs);
    return Math.max(...times.slice(1).map((time, index) => time - (times[index] ?? time)));
  }

  /**
   * What a job has left: names of suspended devices, and `outlived` when the snapshot command lived when the device was
   * resumed. Waits for the end of the command and of the guards.
   */
  async leftovers(): Promise<string[]> {
    const suspended = await suspendedDevices();
    await eventually('the snapshot command to be gone', () => {
      try {
        process.kill(-this.commandGroup, 0);
        return false;
      } catch {
        return true;
      }
    });
    await eventually('the guards to end', () => Object.values(guards()).every(Number.isNaN));
    return [...suspended, ...(existsSync(this.file('outlived')) ? ['outlived'] : [])];
  }

  /** Ends what a test left, so that nothing hangs. */
  async release(): Promise<void> {
    if (existsSync(this.file('group'))) killGroup(this.commandGroup);
    for (const pid of Object.values(guards())) if (!Number.isNaN(pid)) process.kill(pid, 'SIGCONT');
    await resumeAllDevices();
    await runCommand(['fsfreeze', '--unfreeze', this.volume.mountpoint], { timeoutMs: 20_000 });
  }

  /** Stops the writer. Whether the volume is clean once unmounted; rejects when it cannot be unmounted or mounted again. */
  async isSound(): Promise<boolean> {
    await this.writer.stop();
    await must('umount', this.volume.mountpoint);
    const checked = await runCommand(['e2fsck', '-fn', this.volume.device], { timeoutMs: 60_000 });
    await must('mount', this.volume.device, this.volume.mountpoint);
    return checked.exitCode === 0;
  }

  async dispose(): Promise<void> {
    await this.release();
    await this.writer.stop().catch(() => undefined);
    await this.group.dispose();
  }
}
