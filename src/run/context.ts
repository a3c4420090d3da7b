import type { Plan } from '../plan/plan.js';
import type { ExecuteDependencies } from './dependencies.js';
import type { LeftRunning } from './left-running.js';
import type { ReleaseStack } from './release-stack.js';
import type { SourceRecord } from './source-record.js';

/** What the steps of one run share. */
export interface RunContext {
  plan: Plan;
  runId: string;
  dependencies: ExecuteDependencies;
  stack: ReleaseStack;
  leftRunning: LeftRunning;
  /** By index of the plan's sources. */
  records: readonly SourceRecord[];
  warn: (message: string) => void;
  /** As `warn`, of what is true of every run on this host: told in the report, and no reason for exit 3. */
  note: (message: string) => void;
  /** Aborted when the run is to end early; its reason is the error to end with. */
  signal: AbortSignal;
}
