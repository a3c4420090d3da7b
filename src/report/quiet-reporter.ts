import { withoutControls } from './controls.js';
import { renderReport, type Style } from './render-report.js';
import type { Reporter } from './reporter.js';
import type { RunReport } from './run-report.js';
import { silentReporter } from './silent-reporter.js';

/**
 * Says nothing of a job that went well, and of another all that is needed, at its end: as cron wants it. How long each
 * step took is not needed in a mail; the history has it.
 */
export function quietReporter(write: (text: string) => void, style: Style): Reporter {
  let warnings: string[] = [];
  return {
    ...silentReporter,
    jobStarted() {
      warnings = [];
    },
    warn(message) {
      warnings.push(message);
    },
    workFinished() {
      // Its result the command prints.
      for (const message of warnings) write(`Warning: ${withoutControls(message)}\n`);
      warnings = [];
    },
    jobFinished(report: RunReport) {
      // What failed after the report was made is not in it.
      const all = [...report.warnings, ...warnings.filter((message) => !report.warnings.includes(message))];
      if (report.outcome === 'success' && warnings.length === 0) return;
      write(renderReport({ ...report, warnings: all }, style, { timeline: false }));
      warnings = [];
    },
  };
}
