import type { ChalkInstance } from 'chalk';
import { withoutControls } from '../report/controls.js';
import type { Symbols } from '../report/symbols.js';
import type { Finding } from './finding.js';
import type { DoctorReport, MountpointReport } from './report.js';

/** How it is shown. */
export interface Face {
  symbols: Symbols;
  chalk: ChalkInstance;
}

function sign(status: Finding['status'], { symbols, chalk }: Face): string {
  return {
    ok: chalk.green(symbols.done.padEnd(2)),
    warning: chalk.yellow(symbols.warning.padEnd(2)),
    problem: chalk.red(symbols.failed.padEnd(2)),
  }[status];
}

function findingLines(finding: Finding, face: Face): string[] {
  const { check, status, summary, detail, fix } = finding;
  const rest = [...(detail === null ? [] : [detail]), ...(fix === null ? [] : [`$ ${fix}`])];
  // What is well needs no explanation.
  const below = status === 'ok' ? [] : rest.map((line) => `     ${face.chalk.dim(withoutControls(line))}`);
  return [`  ${sign(status, face)} ${check}: ${withoutControls(summary)}`, ...below];
}

function mountpointLines(report: MountpointReport, face: Face): string[] {
  const { mountpoint, device, fstype, stack, provider, freezeMode, freezeModeReason, consistency, job } =
    report;
  const on = device === null || fstype === null ? '' : ` (${fstype} on ${device})`;
  const devices = stack.map(
    (entry) => `${entry.device} ${entry.type}${entry.image === null ? '' : `, image ${entry.image}`}`,
  );
  const how =
    provider === 'none'
      ? 'no snapshot, a copy of the live tree'
      : `snapshot by ${provider ?? ''}, freeze ${freezeMode ?? ''}`;
  const planned =
    provider === null
      ? []
      : [`     a run: ${how}; ${freezeModeReason ?? ''}`, `     consistency: ${consistency ?? ''}`];
  return [
    face.chalk.bold(withoutControls(`${mountpoint}${on}${job === null ? '' : `, job ${job}`}`)),
    ...[...(devices.length === 0 ? [] : [`     on: ${devices.join(' > ')}`]), ...planned].map(
      withoutControls,
    ),
    ...report.findings.flatMap((finding) => findingLines(finding, face)),
  ];
}

function count(findings: readonly Finding[], status: Finding['status'], noun: string): string {
  const { length } = findings.filter((finding) => finding.status === status);
  return `${length} ${noun}${length === 1 ? '' : 's'}`;
}

/** The text that `doctor` shows to people. */
export function renderDoctor({ findings, mountpoints }: DoctorReport, face: Face): string {
  const all = [...findings, ...mountpoints.flatMap((one) => one.findings)];
  const lines = [
    face.chalk.bold('This host'),
    ...findings.flatMap((finding) => findingLines(finding, face)),
    ...mountpoints.flatMap((report) => mountpointLines(report, face)),
    `${count(all, 'problem', 'problem')}, ${count(all, 'warning', 'warning')}`,
  ];
  return lines.join('\n');
}
