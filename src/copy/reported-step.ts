import { messageOf } from '../errors.js';
import type { Reporter } from '../report/reporter.js';

/** Runs one piece of work as a step that a reporter shows. */
export async function withReportedStep<T>(
  reporter: Reporter,
  step: string,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  reporter.stepStarted(step, { frozen: false });
  try {
    const result = await work();
    reporter.stepFinished(step, performance.now() - startedAt);
    return result;
  } catch (error) {
    reporter.stepFailed(step, messageOf(error));
    throw error;
  }
}
