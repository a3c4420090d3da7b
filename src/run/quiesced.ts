import { quiesceApplication, releaseApplication } from '../quiesce/hooks.js';
import type { RunContext } from './context.js';
import { releaseInReverse, type Held } from './release-stack.js';
import { faultPoint } from '../system/fault-point.js';

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
      if (hook.after.length > 0) {
        const { name, after, timeoutMs } = hook;
        const entry = await journal.record('quiesce', { name, after: [...after], timeoutMs });
        quiesced.push(
          stack.push(`the application ${name}`, async () => {
            await timeline.step(`unquiesce ${name}`, () => releaseApplication(hook, runProgram));
            faultPoint('quiesce.released');
            await entry.remove();
          }),
        );
        faultPoint('quiesce.intended');
      }
      await timeline.step(`quiesce ${hook.name}`, () => quiesceApplication(hook, runProgram, signal));
      faultPoint('quiesce.held');
    }
    return await work();
  } finally {
    await releaseInReverse(quiesced);
  }
}
