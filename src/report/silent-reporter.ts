import type { Reporter } from './reporter.js';

function nothing(): void {
  // Said by the JSON object at the end.
}

/** Says nothing at all: `--json`. */
export const silentReporter: Reporter = {
  jobStarted: nothing,
  stepStarted: nothing,
  stepFinished: nothing,
  stepFailed: nothing,
  progress: nothing,
  warn: nothing,
  waiting: nothing,
  workFinished: nothing,
  jobFinished: nothing,
};
