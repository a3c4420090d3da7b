import type { QuiesceConfig } from '../config/types.js';
import type { JournalHandle } from '../journal/journal.js';
import { quiesceApplication, releaseApplication } from '../quiesce/hooks.js';
import type { RunContext } from './context.js';
import { releaseInReverse, type Held } from './release-stack.js';
import { faultPoint } from '../system/fault-point.js';
import { QUIESCE_VARIABLE } from '../system/process-identity.js';

type QuiesceEntry = JournalHandle<'quiesce'>;

/** What is journalled of an application. */
function payloadOf({ name, after, timeoutMs }: QuiesceConfig): Parameters<QuiesceEntry['amend']>[0] {
  return { name, after: [...after], timeoutMs };
}

/**
 * Does `work` while the plan's applications are at rest. They go on again, in reverse, whatever happened: also one
 * whose own command failed half-way. One that cannot be let go stays on the stack and is tried again at the end.
 * Rejects as the commands and `work` do.
 */
export async function whileQuiesced<T>(context: RunContext, work: () => Promise<T>): Promise<T> {
  const { plan, dependencies, stack, signal } = context;
  const { timeline, journal, runProgram } = dependencies;
  const quiesced: Held[] = [];
  try {
    for (const hook of plan.quiesce) {
      let entry: QuiesceEntry | undefined;
      if (hook.after.length > 0) {
        const recorded = await journal.record('quiesce', payloadOf(hook));
        quiesced.push(
          stack.push(`the application ${hook.name}`, async () => {
            await timeline.step(`unquiesce ${hook.name}`, () => releaseApplication(hook, runProgram));
            faultPoint('quiesce.released');
            await recorded.remove();
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
    await releaseInReverse(quiesced);
  }
}
