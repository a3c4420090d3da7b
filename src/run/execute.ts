import { atPlace } from '../config/written-at.js';
import type { CopySource } from '../copy/engine.js';
import { FsbackupError } from '../errors.js';
import { areAtOneInstant, describeInstants } from '../report/instants.js';
import type { CopyReport, RetentionReport, RunReport, SourceReport } from '../report/run-report.js';
import { targetName } from '../backup-target.js';
import { numberInstants } from '../plan/instants.js';
import type { Plan, PlannedTarget } from '../plan/plan.js';
import type { RunContext } from './context.js';
import { copySources, copyToTarget, liveSources, partialCopyError } from './copy-to-target.js';
import type { ExecuteDependencies } from './dependencies.js';
import { exposeSnapshots } from './expose-snapshots.js';
import { LeftRunning } from './left-running.js';
import { madeSince } from './made-since.js';
import { requireTrees } from './require-trees.js';
import { prepareWindow, refuseFrozen, windowDevices, type PreparedSnapshot } from './prepare-window.js';
import { proveOrigins } from './prove-origins.js';
import { refuseUnwritable, refuseUnwritableTarget } from './refuse-unwritable.js';
import { whileQuiesced } from './quiesced.js';
import { ReleaseStack, type ReleaseFailure } from './release-stack.js';
import { reportRun, type FailedCopy } from './run-outcome.js';
import { retainAfterRun } from './retain-after-run.js';
import { SourceRecord } from './source-record.js';
import { syncAhead, takeSnapshots, type TakenSnapshot } from './take-snapshots.js';
import { TreeMounts } from './tree-mounts.js';
import { withOrigins } from './with-origins.js';
import { watchSnapshots, type SnapshotWatch } from './watch-snapshots.js';
import { faultPoint } from '../system/fault-point.js';
import { suggested } from '../system/command-line.js';

export interface ExecuteOptions {
  runId: string;
  startedAt: Date;
  /** Told before the execution began. */
  warnings: readonly string[];
  /** The same, of what earlier runs left: of this run's backups it says nothing, so no manifest has it. */
  leftovers?: readonly string[];
  signal: AbortSignal;
}

type Tools = ReadonlyMap<PlannedTarget, Readonly<Record<string, string>>>;

class Execution {
  readonly #plan: Plan;
  readonly #options: ExecuteOptions;
  readonly #context: RunContext;
  readonly #warnings: string[];
  readonly #notes: string[] = [];
  readonly #leftOut: string[];
  readonly #errors: unknown[] = [];
  readonly #copies: CopyReport[] = [];
  readonly #failed: FailedCopy[] = [];
  /** Those whose backup lacks nothing. */
  readonly #whole: PlannedTarget[] = [];
  #retention: RetentionReport[] = [];

  constructor(plan: Plan, dependencies: ExecuteDependencies, options: ExecuteOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#warnings = [...options.warnings, ...(options.leftovers ?? []), ...plan.warnings];
    this.#leftOut = [...(plan.leftOut ?? [])];
    this.#context = {
      plan,
      runId: options.runId,
      dependencies,
      stack: new ReleaseStack(),
      leftRunning: new LeftRunning(dependencies.readUnitPrograms),
      records: plan.sources.map((source) => new SourceRecord(source)),
      warn: (message) => this.#warn(message),
      note: (message) => this.#notes.push(message),
      signal: options.signal,
    };
  }

  #warn(message: string): void {
    if (this.#warnings.includes(message)) return;
    this.#warnings.push(message);
    this.#context.dependencies.timeline.reporter.warn(message);
  }

  #sources(): SourceReport[] {
    const { records } = this.#context;
    const instants = numberInstants(records.map((record) => record.instantCandidate));
    return records.map((record, index) => record.report(instants[index] ?? null));
  }

  /** What a job must be is looked at once more when it has happened, before anything is copied. */
  #requireOneInstant(): void {
    const sources = this.#sources();
    if (!this.#plan.mustBeOneInstant || areAtOneInstant(sources)) return;
    throw new FsbackupError(
      'snapshotFailed',
      `The snapshots were not taken at one instant, as the job must be: ${describeInstants(sources)}`,
      { hint: `Run the job again; see \`${suggested('plan')}\` for how each is taken.` },
    );
  }

  #report(
    copies: readonly CopyReport[],
    releaseFailures: readonly ReleaseFailure[],
    errors: readonly unknown[] = this.#errors,
    warnings: readonly string[] = this.#warnings,
  ): RunReport {
    return reportRun({
      job: this.#plan.job,
      runId: this.#options.runId,
      startedAt: this.#options.startedAt,
      freeze: this.#plan.freeze,
      sources: this.#sources(),
      copies,
      failedCopies: this.#failed,
      steps: this.#context.dependencies.timeline.steps,
      leftOut: this.#leftOut,
      warnings,
      notes: this.#notes,
      retention: this.#retention,
      errors,
      releaseFailures,
    });
  }

  #ownWarnings(): string[] {
    const { leftovers = [] } = this.#options;
    return this.#warnings.filter((warning) => !leftovers.includes(warning));
  }

  #fail(target: PlannedTarget, error: unknown): void {
    this.#failed.push({ target: targetName(target), engine: target.engine, error });
    this.#errors.push(error);
  }

  /** The targets that a backup can be made in, and the versions of what makes it. Throws when there is none. */
  async #preflightTargets(): Promise<Tools> {
    const { dependencies, signal } = this.#context;
    const tools = new Map<PlannedTarget, Readonly<Record<string, string>>>();
    for (const target of this.#plan.targets) {
      signal.throwIfAborted();
      try {
        await refuseUnwritableTarget(target, (asked) => dependencies.requireAnswer(asked, { signal }));
        const versions = await dependencies.engine(target).preflight();
        await dependencies.backups.preflight(target, this.#plan.job, this.#plan.trees);
        tools.set(target, versions);
      } catch (error) {
        signal.throwIfAborted();
        // A disk that is not there today is no reason to go without a backup on the others.
        this.#fail(target, atPlace(target, error));
      }
    }
    return tools;
  }

  async #preflight(): Promise<{ tools: Tools; prepared: PreparedSnapshot[][] } | undefined> {
    const { signal } = this.#context;
    const tools = await this.#preflightTargets();
    if (tools.size === 0) return undefined;
    await refuseUnwritable(this.#context);
    const prepared: PreparedSnapshot[][] = [];
    for (const window of this.#plan.windows) {
      prepared.push(await prepareWindow(window, 1, this.#context));
      // What is suspended would stop us in the sync, in the kernel.
      await windowDevices(window, this.#context);
      await refuseFrozen(window, this.#context);
    }
    if (this.#plan.quiesce.length > 0) await syncAhead(prepared.flat(), this.#context);
    signal.throwIfAborted();
    faultPoint('run.preflighted');
    return { tools, prepared };
  }

  async #copyAll(sources: readonly CopySource[], tools: Tools, watch: SnapshotWatch): Promise<void> {
    const { dependencies } = this.#context;
    const { signal } = watch;
    for (const [target, versions] of tools) {
      signal.throwIfAborted();
      // What went wrong so far went wrong with other targets: it says nothing against this backup.
      const reportWith = (copy: CopyReport): RunReport =>
        this.#report([...this.#copies, copy], [], [], this.#ownWarnings());
      const task = {
        target,
        sources,
        tools: versions,
        consistency: this.#report(this.#copies, []).consistency,
        reportWith,
        checkIntact: () => watch.check(),
      };
      try {
        const done = await dependencies.timeline.step(`copy to ${targetName(target)}`, () =>
          copyToTarget(task, { ...this.#context, signal }),
        );
        this.#copies.push(done.copy);
        if (done.unreadable.length === 0) this.#whole.push(target);
        else this.#errors.push(partialCopyError(target, done.unreadable));
      } catch (error) {
        signal.throwIfAborted();
        // What cannot be read cannot be read for the next target either.
        if (error instanceof FsbackupError && error.code === 'snapshotInvalid') throw error;
        // One target that fails is no reason to go without a backup in the others.
        this.#fail(target, error);
      }
    }
  }

  async #work(): Promise<void> {
    const { dependencies } = this.#context;
    const { timeline } = dependencies;
    const preflight = await timeline.step('preflight', () => this.#preflight());
    if (preflight === undefined) return;
    const { tools, prepared } = preflight;
    const mounts = new TreeMounts(dependencies.shownMount);
    // Before the applications stop: their commands may unmount what is to be read.
    await mounts.note(liveSources(this.#plan));
    const taken = await whileQuiesced(this.#context, async () => {
      const snapshots = new Map<number, TakenSnapshot>();
      for (const [index, window] of this.#plan.windows.entries()) {
        await takeSnapshots(window, prepared[index] ?? [], snapshots, this.#context);
      }
      return snapshots;
    });
    this.#requireOneInstant();
    await mounts.check();
    for (const { path, warning } of await madeSince(this.#plan, dependencies.lookBelow)) {
      if (path !== undefined) this.#leftOut.push(path);
      this.#warn(warning);
    }
    const exposed =
      taken.size === 0
        ? new Map<number, string>()
        : await timeline.step('expose', async () => {
            const directories = await exposeSnapshots(taken, this.#context);
            await requireTrees(this.#plan.trees, directories);
            return directories;
          });
    const snapshots = new Map([...taken].map(([index, { ref }]) => [index, ref]));
    const sources = await withOrigins(copySources(this.#plan, exposed, snapshots), this.#context);
    await mounts.note(sources.filter(({ snapshot }) => snapshot !== undefined));
    const checks = [...taken.values()].map(
      ({ provider, ref }) =>
        () =>
          provider.checkIntact(ref),
    );
    const watch = watchSnapshots([...checks, () => mounts.check()], {
      intervalMs: dependencies.watchIntervalMs,
      signal: this.#context.signal,
    });
    try {
      await this.#copyAll(sources, tools, watch);
      faultPoint('run.copied');
    } finally {
      watch.stop();
    }
  }

  /** After the release: a snapshot that exists hides nothing then. Also when the run failed, an interrupt apart. */
  async #prove(): Promise<void> {
    const { records, dependencies, signal } = this.#context;
    const doubtful = this.#plan.sources.filter(
      ({ proveOrigin }, index) => proveOrigin === true && records[index]?.wasBegun === true,
    );
    if (doubtful.length === 0 || signal.aborted) return;
    await dependencies.timeline.step('prove', () => proveOrigins(doubtful, this.#context));
  }

  async run(): Promise<RunReport> {
    const { dependencies, stack } = this.#context;
    for (const message of this.#warnings) dependencies.timeline.reporter.warn(message);
    try {
      await this.#work();
    } catch (error) {
      this.#errors.push(error);
    }
    const failures = stack.isEmpty
      ? []
      : await dependencies.timeline.step('release', () => stack.releaseAll());
    await this.#prove().catch((error: unknown) => this.#errors.push(error));
    this.#retention = await retainAfterRun(this.#whole, this.#context);
    for (const warning of await this.#context.leftRunning.warnings()) this.#warn(warning);
    return this.#report(this.#copies, failures);
  }
}

/**
 * Does what a plan says, its locks being held. Resolves to the report in every case; all that was acquired has been
 * released by then, in reverse order, or is named in the report (exit 60).
 */
export async function executePlan(
  plan: Plan,
  dependencies: ExecuteDependencies,
  options: ExecuteOptions,
): Promise<RunReport> {
  return await new Execution(plan, dependencies, options).run();
}
