import { expect } from 'vitest';
import type { RunReport } from '../../src/report/run-report.js';
import type { DeadmanLab } from './deadman-lab.js';
import type { StartedCli } from './fsbackup-cli.js';

/**
 * Waits for the end of a run, which must be that of one whose freeze was lost: nothing of it is left, and each of
 * `resumed`, names of device-mapper, was left suspended and wants a look. Returns the report.
 */
export async function expectLost(
  lab: DeadmanLab,
  started: StartedCli,
  { reason, resumed = ['deadman-srv'] }: { reason: string; resumed?: readonly string[] },
): Promise<RunReport> {
  expect(await started.ended(), started.output).toBe(21);
  const report = JSON.parse(started.output.slice(started.output.indexOf('{\n'))) as RunReport;
  const lost = `${lab.volume.mountpoint} (${reason})`;
  expect(report.error).toMatchObject({
    code: 'freezeLost',
    message: expect.stringContaining(lost) as string,
  });
  expect(report.sources).toMatchObject([{ snapshot: null }]);
  // How long writers waited is told where a watchdog lived to measure it, though it all came to nothing.
  if (reason !== 'guard-died') expect(report.sources[0]?.frozenMs).toBeGreaterThan(0);
  const named = report.warnings.map((warning) => /left (\S+) .*LVM's state wants a look/.exec(warning)?.[1]);
  expect(named.filter((name) => name !== undefined).toSorted()).toEqual(resumed.toSorted());
  expect(lab.wasRemoved).toBe(true);
  return report;
}
