import { describeInstants, describeMounts } from '../report/instants.js';
import type { ErrorReport, FailedCopyReport } from '../report/run-report.js';
import { asLines } from '../report/controls.js';
import type { Plan, PlannedSource, UnplannedJob } from './plan.js';
import { describeFreezeTimes } from './steps.js';

function sourceLines(source: PlannedSource): string[] {
  const how =
    source.provider === 'none'
      ? 'no snapshot'
      : `snapshot by ${source.provider}, freeze ${source.freezeMode}`;
  return [
    `  ${describeMounts(source)} (${source.fstype} on ${source.device}): ${how}`,
    `    why: ${source.freezeModeReason}`,
    `    consistency: ${source.consistency}`,
  ];
}

function instants({ oneInstant, sources }: Plan): string {
  return oneInstant ? 'at one instant' : `not at one instant (${describeInstants(sources)})`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines];
}

function errorLines(what: string, { message, hint }: ErrorReport): string[] {
  return [`  ${what}${message}`, ...(hint === undefined ? [] : [`    ${hint}`])];
}

function failedLines({ target, engine, error }: FailedCopyReport): string[] {
  return errorLines(`${target} by ${engine}: `, error);
}

/** The text that `plan` and `run --dry-run` show to people. */
export function renderPlan(
  plan: (Plan & { failedCopies?: readonly FailedCopyReport[] }) | UnplannedJob,
): string {
  if ('error' in plan) return asLines([`Job ${plan.job}: cannot be run`, ...errorLines('', plan.error)]);
  const mountpoint = (index: number): string => plan.sources[index]?.mountpoint ?? '';
  const width = Math.max(0, ...plan.steps.map(({ step }) => step.length));
  const lines = [
    `Job ${plan.job}: consistency ${plan.consistency}, ${instants(plan)}, ${plan.attempts === 1 ? 'one attempt' : `${plan.attempts} attempts`}`,
    ...section('Snapshots', plan.sources.flatMap(sourceLines)),
    ...section(
      'Trees',
      plan.trees.map(({ path, source, exclude }) => {
        const without = exclude.length === 0 ? '' : `, without ${exclude.join(' ')}`;
        return `  ${path} from ${mountpoint(source)}${without}`;
      }),
    ),
    ...section(
      'Frozen together',
      plan.windows
        .filter(({ freeze }) => freeze.length > 0)
        .map(({ freeze }) => `  ${freeze.map(mountpoint).join(', ')}: ${describeFreezeTimes(plan.freeze)}`),
    ),
    ...section(
      'Steps',
      plan.steps.map(
        ({ step, detail, frozen }) => `  ${frozen ? '*' : ' '} ${step.padEnd(width)}  ${detail}`,
      ),
    ),
    ...(plan.steps.some(({ frozen }) => frozen) ? ['  (* while frozen)'] : []),
    ...section(
      'Warnings',
      plan.warnings.map((warning) => `  ${warning}`),
    ),
    ...section('No backup could be made in', (plan.failedCopies ?? []).flatMap(failedLines)),
  ];
  return asLines(lines);
}
