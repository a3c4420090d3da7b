import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { guards } from './deadman-lab.js';
import { resumeAllDevices } from './device-mapper.js';
import { startLogWriter, type LogWriter } from './log-writer.js';
import { LabVolumeGroup, type LabVolume } from './lvm-lab.js';
import { must } from './throwaway-filesystem.js';

const RUN_JS = path.resolve(import.meta.dirname, '../../bin/run.js');
const CONFIG = '/etc/fsbackup/config.yaml';
/** What fsbackup runs while it holds the freeze; found before the real one. While HANG exists, it hangs with the volume frozen or, as HANG says, suspended. */
const LVCONVERT = '/usr/local/sbin/lvconvert';
const HANG = '/run/lab-hang';
const HANGING = '/run/lab-hanging';
const PATIENCE_MS = 240_000;
/** To ask systemd takes a fifth of a second of the processor that what is waited for needs. */
const LOOK_MS = 1000;

/** As `eventually`, for what takes an emulated guest with other things to do longer than a minute. */
export async function patiently(what: string, look: () => Promise<boolean> | boolean): Promise<void> {
  const giveUpAt = Date.now() + PATIENCE_MS;
  while (!(await look())) {
    if (Date.now() > giveUpAt) throw new Error(`waited ${PATIENCE_MS / 60_000} minutes for: ${what}`);
    await sleep(LOOK_MS);
  }
}

/** A job of the configuration. */
export const JOB = 'srv-1';
export const SERVICE = `fsbackup@${JOB}.service`;
export const TIMER = `fsbackup@${JOB}.timer`;

/** The guest's systemd with a scheduled job over a logical volume that is written to. State is where it always is. */
export class SystemdLab {
  readonly group: LabVolumeGroup;
  readonly volume: LabVolume;
  readonly target: string;
  readonly writer: LogWriter;

  private constructor(group: LabVolumeGroup, volume: LabVolume, target: string) {
    this.group = group;
    this.volume = volume;
    this.target = target;
    this.writer = startLogWriter(path.join(volume.mountpoint, 'records'));
  }

  static async make(vg: string, disks: readonly string[]): Promise<SystemdLab> {
    const group = await LabVolumeGroup.make(vg, disks);
    const volume = await group.volume({ lv: 'srv', fstype: 'ext4' });
    const target = await group.volume({ lv: 'backups', fstype: 'ext4', sizeMiB: 1000 });
    const lab = new SystemdLab(group, volume, target.mountpoint);
    await mkdir(path.dirname(CONFIG), { recursive: true });
    const script = [
      '#!/bin/sh',
      `if [ -e ${HANG} ]; then`,
      `  if grep -q suspended ${HANG}; then dmsetup suspend ${vg}-srv; fi`,
      `  touch ${HANGING}`,
      '  sleep 600',
      'fi',
      'exec /usr/sbin/lvconvert "$@"',
      '',
    ];
    await writeFile(LVCONVERT, script.join('\n'));
    await chmod(LVCONVERT, 0o755);
    // The checkout may be of somebody whose group may write to it.
    await must('chmod', '-R', 'go-w', '--', path.dirname(RUN_JS), path.join(path.dirname(RUN_JS), '../dist'));
    return lab;
  }

  /** Writes a configuration with one job. The freeze has time: whatever thaws before that is not the deadline. */
  async configure(job: object = {}): Promise<void> {
    const jobs = {
      [JOB]: {
        sources: [{ path: this.volume.mountpoint, freezeMode: 'explicit' }],
        targets: [this.target],
        attempts: 1,
        freeze: { timeout: '90s', maxHold: '100s' },
        ...job,
      },
    };
    await writeFile(CONFIG, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
  }

  async fsbackup(...args: string[]): Promise<CommandResult> {
    return await runCommand([process.execPath, RUN_JS, ...args], { timeoutMs: 240_000 });
  }

  /** `fsbackup … --json`. Throws when it says something else. */
  async json<T>(...args: string[]): Promise<T> {
    const { stdout, stderr } = await this.fsbackup(...args, '--json');
    try {
      return JSON.parse(stdout) as T;
    } catch {
      throw new Error(`fsbackup ${args.join(' ')}: ${stdout}${stderr}`);
    }
  }

  /** A property of the unit of the job. */
  async property(name: string, unit = SERVICE): Promise<string> {
    return await must('systemctl', 'show', '--value', `--property=${name}`, '--', unit);
  }

  /** Starts the unit, and waits until its snapshot command hangs with the volume frozen, or suspended. */
  async startFrozen(how: 'frozen' | 'suspended'): Promise<void> {
    rmSync(HANGING, { force: true });
    await writeFile(HANG, how);
    await must('systemctl', 'start', '--no-block', '--', SERVICE);
    await patiently('the volume to be frozen', async () => {
      if (existsSync(HANGING)) return true;
      const state = await this.property('ActiveState');
      if (state === 'failed') throw new Error(await this.journal());
      return false;
    });
    // What was on its way got through before the freeze.
    const { acknowledgements } = this.writer;
    await patiently('the writer to stand still', async () => {
      const before = acknowledgements.length;
      await sleep(1000);
      return acknowledgements.length === before;
    });
  }

  /** Does something to the unit, and waits until the writer goes on; how long that took from then, in ms. */
  async thawedAfter(attack: () => Promise<unknown>): Promise<number> {
    const { acknowledgements } = this.writer;
    const before = acknowledgements.length;
    const begun = Date.now();
    const attacked = attack();
    await this.writer.acknowledged(before + 1);
    const thawedMs = Date.now() - begun;
    await attacked;
    return thawedMs;
  }

  /** Waits for the end of the unit, its clean-up included; the result in systemd's word. */
  async ended(): Promise<string> {
    await patiently('the unit to end', async () =>
      ['inactive', 'failed'].includes(await this.property('ActiveState')),
    );
    return await this.property('Result');
  }

  /** From now on its snapshot command does what it should. */
  hangNoMore(): void {
    rmSync(HANG, { force: true });
  }

  /** What the journal of fsbackup holds, and cgroups of guards that are in use: of guards that were killed, an empty one stays. */
  async leftovers(): Promise<string[]> {
    await patiently('the guards to end', () => Object.values(guards()).every(Number.isNaN));
    const list = (directory: string, pattern: RegExp): string[] =>
      existsSync(directory) ? readdirSync(directory).filter((name) => pattern.test(name)) : [];
    return [
      ...list('/sys/fs/cgroup', /^qsentry-/).filter(
        (name) => readFileSync(`/sys/fs/cgroup/${name}/cgroup.procs`, 'utf8') !== '',
      ),
      ...list('/run/fsbackup/journal', /\.json$/),
      ...list('/var/lib/fsbackup/journal', /\.json$/),
    ];
  }

  async journal(): Promise<string> {
    return await must('journalctl', '--no-pager', '--lines=60', '--output=cat', '--unit', SERVICE);
  }

  async dispose(): Promise<void> {
    for (const pid of Object.values(guards())) if (!Number.isNaN(pid)) process.kill(pid, 'SIGCONT');
    for (const file of [HANG, HANGING, LVCONVERT]) rmSync(file, { force: true });
    await runCommand(['systemctl', 'kill', '--signal=KILL', '--', SERVICE], { timeoutMs: 30_000 });
    await resumeAllDevices();
    await runCommand(['fsfreeze', '--unfreeze', this.volume.mountpoint], { timeoutMs: 20_000 });
    await runCommand(['systemctl', 'stop', '--', TIMER, SERVICE], { timeoutMs: 240_000 });
    await this.writer.stop().catch(() => undefined);
    await this.group.dispose();
  }
}
