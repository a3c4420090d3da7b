import { FsbackupError } from '../../src/errors.js';
import type {
  DeviceLossReason,
  Freezer,
  FreezeRequest,
  GuardedDevice,
  LossReason,
  ThawOutcome,
} from '../../src/freeze/freezer.js';
import type { BaseRecord } from '../../src/copy/filesystem/base-store.js';
import type { CopyEngine } from '../../src/copy/engine.js';
import type { BackupFacts, ExecuteDependencies } from '../../src/run/dependencies.js';
import type { FoundNested } from '../../src/run/find-nested.js';
import { Timeline } from '../../src/run/timeline.js';
import type { Reporter } from '../../src/report/reporter.js';
import type { SnapshotProvider } from '../../src/snapshots/provider.js';
import type { UnitProgram } from '../../src/system/unit-programs.js';
import { unlessAborted } from '../../src/system/unless-aborted.js';
import { suits } from './plan-facts.js';

/** An answer to a call: fail with it, or do something first. */
type Fault = Error | (() => void | Promise<void>);

/**
 * A host in memory for the execution of plans: knows what is held, in which order it was acquired and released, and
 * fails a test that writes while something is frozen or acquires what is not journalled.
 */
export class FakeWorld {
  /** What happened, in order. */
  readonly log: string[] = [];
  /** What is held, in the order of acquisition. */
  readonly held: string[] = [];
  readonly journal = new Set<string>();
  readonly backups = new Map<string, BackupFacts>();
  /** Names of the snapshots that stay between runs. */
  readonly kept = new Set<string>();
  /** By job and target. */
  readonly bases = new Map<string, BaseRecord>();
  /** Why a backup is doubtful, by target and id. */
  readonly doubts = new Map<string, string>();
  readonly violations: string[] = [];
  readonly steps: string[] = [];
  /** By the name of a call: `freeze`, `create`, `copy /b`; each is taken once, in order. */
  readonly faults = new Map<string, Fault[]>();
  /** Loss of each window's freeze, in order. */
  readonly losses: (LossReason | undefined)[] = [];
  freezerWarnings: readonly string[] = [];
  /** What lies below a directory. */
  readonly below = new Map<string, FoundNested[]>();
  lookBelow = async (directory: string): Promise<FoundNested[]> => this.below.get(directory) ?? [];
  /** The mount that a directory is read through. */
  shown: (directory: string) => string | undefined = () => 'as it was';
  /** Whether filesystems look frozen; undefined: it does not show. */
  looks: boolean | undefined = undefined;
  /** What runs in the unit of systemd that the run is; undefined: it is none. */
  unitPrograms: UnitProgram[] | undefined = undefined;
  /** Below all that is snapshotted. */
  devices: readonly GuardedDevice[] = [];
  /** Of each window's devices, in order: why their watch was lost. One that is `left-suspended` was resumed. */
  readonly deviceLosses: (DeviceLossReason | undefined)[] = [];
  /** Whose devices the dead-man was asked to guard, mountpoints by window. */
  readonly guarded: string[][] = [];

  #frozen = false;
  #armed = 0;

  fail(call: string, ...faults: Fault[]): void {
    this.faults.set(call, [...(this.faults.get(call) ?? []), ...faults]);
  }

  async #call(call: string): Promise<void> {
    this.log.push(call);
    const fault = this.faults.get(call)?.shift();
    if (fault instanceof Error) throw fault;
    await fault?.();
  }

  /** Changes nothing: told only when it is to fail. */
  async #proof(call: string): Promise<void> {
    if (this.faults.has(call)) await this.#call(call);
  }

  #acquire(thing: string): void {
    if (!this.held.includes(thing)) this.held.push(thing);
  }

  #release(thing: string): void {
    const index = this.held.indexOf(thing);
    if (index !== -1) this.held.splice(index, 1);
  }

  #mustBeJournalled(entry: string): void {
    if (!this.journal.has(entry)) this.violations.push(`${entry} is acquired without an intent`);
  }

  #mustNotBeFrozen(what: string): void {
    if (this.#frozen) this.violations.push(`${what} while frozen`);
  }

  readonly reporter: Reporter = {
    jobStarted: () => this.#mustNotBeFrozen('jobStarted'),
    stepStarted: (step) => this.#mustNotBeFrozen(`step ${step} told`),
    stepFinished: (step) => {
      this.#mustNotBeFrozen(`end of ${step} told`);
      this.steps.push(step);
    },
    stepFailed: (step) => {
      this.#mustNotBeFrozen(`failure of ${step} told`);
      this.steps.push(`${step} failed`);
    },
    progress: () => this.#mustNotBeFrozen('progress'),
    warn: () => this.#mustNotBeFrozen('warning'),
    waiting: () => this.#mustNotBeFrozen('waiting'),
    workFinished: () => this.#mustNotBeFrozen('workFinished'),
    jobFinished: () => this.#mustNotBeFrozen('jobFinished'),
  };

  #freezer({ targets, devices }: FreezeRequest, guards: string): Freezer {
    const lost = new AbortController();
    let loss: LossReason | undefined;
    let refused = false;
    let deviceLoss: DeviceLossReason | undefined;
    let thawed: ThawOutcome | undefined;
    return {
      warnings: this.freezerWarnings,
      watchdogPids: [1, 2],
      lost: lost.signal,
      freeze: async () => {
        loss = this.losses.shift();
        deviceLoss = this.deviceLosses.shift();
        // Set before: a fault of `freeze` may itself look at the world.
        this.#frozen = true;
        this.#acquire('freeze');
        try {
          const mountpoints = targets.map(({ mountpoint }) => mountpoint);
          await this.#call(targets.length === 0 ? 'watch' : `freeze ${mountpoints.join(' ')}`);
        } catch (error) {
          refused = true;
          this.#frozen = false;
          this.#release('freeze');
          throw error;
        }
        if (loss !== undefined) lost.abort(loss);
      },
      probe: async () => {
        for (const { mountpoint } of targets) {
          this.#frozen = true;
          try {
            await this.#call(`probe ${mountpoint}`);
          } finally {
            this.#frozen = false;
          }
        }
      },
      watchCommand: () => {
        this.#acquire('command');
        return { started: () => undefined, ended: () => this.#release('command') };
      },
      thaw: async () => {
        this.#frozen = false;
        if (thawed === undefined) {
          this.#release('freeze');
          thawed = {
            filesystems: (refused ? [] : targets).map((target) => ({
              target,
              lost: loss,
              frozenMs: 5,
              freezeCallMs: 1,
              thawMs: 1,
            })),
            devices: devices.map((device) => ({
              device,
              lost: deviceLoss,
              resumed: deviceLoss === 'left-suspended',
              suspendedMs: 3,
            })),
          };
          await this.#call('thaw');
        }
        return thawed;
      },
      close: async () => {
        await this.#call('close');
        this.#release(guards);
      },
    };
  }

  readonly provider: SnapshotProvider = {
    name: 'reflink',
    detect: () => suits(['explicit']),
    prepare: async (requests) => {
      this.#mustNotBeFrozen('prepare');
      await this.#call('prepare');
      return requests.map(({ name, filesystem: { mount }, freezeMode }) => ({
        provider: 'reflink',
        name,
        mountpoint: mount.mountpoint,
        fstype: mount.fstype,
        takenFrozen: freezeMode === 'explicit',
        data: {},
      }));
    },
    create: async (refs, { watchCommand }) => {
      const command = watchCommand?.();
      if (command === undefined && this.guarded.length > 0) this.violations.push('create is not watched');
      for (const { name } of refs) {
        this.#mustBeJournalled(`snapshot ${name}`);
        this.#acquire(`snapshot ${name}`);
      }
      try {
        await this.#call(`create ${refs.length}`);
      } finally {
        command?.ended();
      }
    },
    checkIntact: async () => {
      // Looked at for as long as a copy takes: told only when it is to fail.
      if (this.faults.has('checkIntact')) await this.#call('checkIntact');
    },
    exists: async ({ name }) => this.held.includes(`snapshot ${name}`),
    expose: async (ref, directory) => {
      this.#mustBeJournalled(`exposure ${ref.name}`);
      this.#acquire(`exposure ${ref.name}`);
      await this.#call('expose');
      return { snapshot: ref, path: directory };
    },
    unexpose: async ({ snapshot }) => {
      await this.#call('unexpose');
      this.#release(`exposure ${snapshot.name}`);
    },
    keep: async ({ name }) => {
      await this.#call('keep');
      if (this.held.includes(`exposure ${name}`)) this.violations.push(`${name} is kept while mounted`);
      this.#release(`snapshot ${name}`);
      this.kept.add(name);
    },
    remove: async ({ name }) => {
      await this.#call('remove');
      this.kept.delete(name);
      if (this.held.includes(`exposure ${name}`)) this.violations.push(`${name} is removed while mounted`);
      this.#release(`snapshot ${name}`);
    },
  };

  readonly engine: CopyEngine = {
    name: 'rsync',
    preflight: async () => {
      await this.#call('engine preflight');
      return { rsync: '3.2.7' };
    },
    copy: async ({ dataDirectory, onProgress, signal }) => {
      await this.#call(`copy ${dataDirectory}`);
      signal.throwIfAborted();
      onProgress({ bytes: 1, files: 1 });
      return { bytes: 10, files: 2, unreadable: [] };
    },
    restore: () => Promise.reject(new Error('no restore here')),
    verify: () => Promise.reject(new Error('no verify here')),
  };

  /** What to execute a plan with. */
  dependencies(mountDirectory: string): ExecuteDependencies {
    let clock = 0;
    return {
      guardedDevices: async (filesystems) => {
        if (filesystems.length === 0 || this.devices.length === 0) return [];
        await this.#call('devices');
        return [...this.devices];
      },
      arm: async (request) => {
        await this.#call('arm');
        const guards = `guards ${(this.#armed += 1)}`;
        this.#acquire(guards);
        if (request.devices.length > 0)
          this.guarded.push(request.devices.flatMap((device) => device.mountpoints));
        return this.#freezer(request, guards);
      },
      provider: () => this.provider,
      engine: () => this.engine,
      backups: {
        preflight: ({ path }) => this.#call(`target preflight ${path}`),
        storage: () => undefined,
        begin: async ({ target }) => {
          this.#mustBeJournalled(`backup ${target.path}`);
          this.#acquire(`backup ${target.path}`);
          await this.#call(`begin ${target.path}`);
          return { dataDirectory: target.path, parentDataDirectory: undefined };
        },
        complete: async ({ target }, facts) => {
          await this.#call(`complete ${target.path}`);
          this.backups.set(target.path, facts);
          this.#release(`backup ${target.path}`);
        },
        doubt: async ({ target, backupId }) => this.doubts.get(`${target.path} ${backupId}`),
        completeData: async ({ target }) => (this.backups.has(target.path) ? target.path : undefined),
        discardIncomplete: async ({ target }) => {
          await this.#call(`discard ${target.path}`);
          this.#release(`backup ${target.path}`);
          return undefined;
        },
      },
      bases: {
        read: async (job, target) => this.bases.get(`${job} ${target}`),
        list: async (job) => [...this.bases.values()].filter((base) => job === undefined || base.job === job),
        write: async (record) => {
          await this.#call('write base');
          this.bases.set(`${record.job} ${record.target}`, { version: 1, recordedAt: '', ...record });
        },
        remove: async (job, target) => void this.bases.delete(`${job} ${target}`),
        keeps: async (job, name) =>
          [...this.bases.values()].some(
            (base) => base.job === job && base.snapshots.some(({ snapshot }) => snapshot.name === name),
          ),
      },
      retain: async (target, job) => {
        if (this.held.length > 0) this.violations.push(`retention while ${this.held.join(', ')} is held`);
        await this.#call(`retain ${target.path}`);
        return { target: target.path, job, verdicts: [], removed: ['old'], failed: [], interrupted: [] };
      },
      journal: {
        record: async (kind, payload) => {
          this.#mustNotBeFrozen(`journal of ${kind}`);
          const { name, snapshot, target } = payload as {
            name?: string;
            snapshot?: { name: string };
            target?: string;
          };
          const entry = `${kind} ${name ?? snapshot?.name ?? target ?? ''}`;
          await this.#call(`journal ${kind}`);
          this.journal.add(entry);
          return {
            id: entry,
            amend: async () => this.#mustNotBeFrozen(`journal of ${kind} amended`),
            remove: async () => {
              this.#mustNotBeFrozen(`journal of ${kind} removed`);
              await this.#proof(`forget ${entry}`);
              if (this.held.includes(entry)) this.violations.push(`${entry} is forgotten while held`);
              this.journal.delete(entry);
            },
          };
        },
      },
      timeline: new Timeline(this.reporter, () => (clock += 1)),
      runProgram: async ([program]) => {
        this.#mustNotBeFrozen(`hook ${program}`);
        const [verb, name] = program.split(' ');
        if (verb === 'after') this.#release(`quiesce ${name}`);
        else this.#acquire(`quiesce ${name}`);
        let exitCode = 0;
        try {
          await this.#call(program);
        } catch {
          exitCode = 1;
          if (verb === 'after') this.#acquire(`quiesce ${name}`);
        }
        return {
          exitCode,
          signal: undefined,
          notFound: false,
          timedOut: false,
          aborted: false,
          stdout: '',
          stderr: '',
        };
      },
      readUnitPrograms: async () => this.unitPrograms,
      looksFrozen: async () => this.looks,
      refuseHeld: ({ mountpoint }) => this.#proof(`held ${mountpoint}`),
      requireAnswer: (asked) => this.#proof(`answer ${asked}`),
      lookBelow: (directory) => this.lookBelow(directory),
      treeOrigin: async ({ mount }, directory) => `${mount.mountpoint} ${directory}`,
      shownMount: async (directory) => this.shown(directory),
      syncFilesystem: (mountpoint, signal) => unlessAborted(this.#call(`sync ${mountpoint}`), signal),
      mountDirectory,
      retryDelayMs: 0,
      watchIntervalMs: 1,
    };
  }
}

/** An error as the parts of a run throw them. */
export function failure(code: FsbackupError['code'], message = `it is ${code}`): FsbackupError {
  return new FsbackupError(code, message, { hint: 'Mend it.' });
}
