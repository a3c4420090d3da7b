import { setTimeout as sleep } from 'node:timers/promises';
import type { QuiesceConfig } from '../config/types.js';
import { messageOf } from '../errors.js';
import type { JournalHandle } from '../journal/journal.js';
import { quiesceApplication, releaseApplication } from '../quiesce/hooks.js';
import { formatMs } from '../report/format.js';
import type { RunContext } from './context.js';
import { releaseInReverse, type Held } from './release-stack.js';
import { faultPoint } from '../system/fault-point.js';
import { QUIESCE_VARIABLE } from '../system/process-identity.js';

type QuiesceEntry = JournalHandle<'quiesce'>;

/** What is journalled of an application. */
function payloadOf({ name, after, timeoutMs }: QuiesceConfig): Parameters<QuiesceEntry['amend']>[0] {
  return { name, after: [...after], timeoutMs };
}

/** Further tries to let an application go before the copy begins; `retryDelayMs` before the first, doubled for each. */
const FURTHER_TRIES = 3;

/**
 * What lets an application go, to be called again where that rejects. The first failure is warned of at once, and where a
 * later call succeeds, how long it was at rest meanwhile.
 */
function releaseOf(hook: QuiesceConfig, context: RunContext): () => Promise<void> {
  const { records, dependencies, leftRunning, warn } = context;
  const { timeline, runProgram } = dependencies;
  let failedAt: number | undefined;
  return async () => {
    try {
      await leftRunning.watch(hook.name, () =>
        timeline.step(`unquiesce ${hook.name}`, () => releaseApplication(hook, runProgram)),
      );
    } catch (error) {
      if (failedAt === undefined) {
        failedAt = timeline.now();
        warn(`the application ${hook.name} could not be let go: ${messageOf(error)}`);
        // That may be how its `after` tells that it had not been at rest to the end.
        if (hook.before.length > 0) for (const record of records) record.restIsDoubtful();
      }
      throw error;
    }
    faultPoint('quiesce.released');
    if (failedAt === undefined) return;
    warn(`the application ${hook.name} was let go ${formatMs(timeline.now() - failedAt)} after that`);
  };
}

/**
 * Lets the applications go, the last first. Those that cannot be are tried again at once, some times: after that comes all
 * of the copy. What fails for good stays on the stack. Never rejects; tries no further once `signal` is aborted.
 */
async function letGo(quiesced: readonly Held[], { dependencies, signal }: RunContext): Promise<void> {
  let delayMs = dependencies.retryDelayMs;
  for (let left = FURTHER_TRIES; (await releaseInReverse(quiesced)).length > 0 && left > 0; left -= 1) {
    // Told to stop: the end of the run is near, and tries once more.
    if (signal.aborted) return;
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    delayMs *= 2;
  }
}

/**
 * Does `work` while the plan's applications are at rest. They go on again, in reverse, whatever happened: also one
 * whose own command failed half-way. One that cannot be let go by several tries stays on the stack and is tried again at the end.
 * Rejects as the commands and `work` do.
 */
export async function whileQuiesced<T>(context: RunContext, work: () => Promise<T>): Promise<T> {
  const { plan, dependencies, stack, signal } = context;
  const { timeline, journal, runProgram } = dependencies;
  const quiesced: Held[] = [];
  const goOn: { name: string; entry: QuiesceEntry }[] = [];
  let isOver = false;
  try {
    for (const hook of plan.quiesce) {
      let entry: QuiesceEntry | undefined;
      if (hook.after.length > 0) {
        const recorded = await journal.record('quiesce', payloadOf(hook));
        const release = releaseOf(hook, context);
        quiesced.push(
          stack.push(`the application ${hook.name}`, async () => {
            await release();
            if (isOver) await recorded.remove();
            else goOn.push({ name: hook.name, entry: recorded });
          }),
        );
        entry = recorded;
        faultPoint('quiesce.intended');
      }
      // By which `recover` finds the command should it outlive us.
      const env = entry === undefined ? {} : { [QUIESCE_VARIABLE]: entry.id };
      await timeline.step(`quiesce ${hook.name}`, () =>
        quiesceApplication(hook, runProgram, { signal, env }),
      );
      // Where that cannot be written, `recover` ends what the command has left running, as if it were at work still.
      await entry?.amend({ ...payloadOf(hook), isAtRest: true }).catch(() => undefined);
      faultPoint('quiesce.held');
    }
    return await work();
  } finally {
    await letGo(quiesced, context);
    isOver = true;
    // Only now: what waits for a disk is nothing that another application should wait for.
    for (const { name, entry } of goOn)
      await entry.remove().catch((error: unknown) => {
        context.warn(`the application ${name} goes on, and stays in the journal: ${messageOf(error)}`);
      });
  }
}
