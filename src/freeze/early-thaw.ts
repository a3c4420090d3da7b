import { isFreezeId } from './freeze-id.js';
import { thawAll, thawMountpoints, type ThawReport } from './release-by-hand.js';

/**
 * What is to be thawed: everything of ours (`orphaned`: of dead commands), or these mountpoints, ours or (`force`)
 * anybody's.
 */
export type ThawRequest =
  | { all: true; orphaned: boolean }
  | { all: false; mountpoints: readonly string[]; force: boolean; freezeId?: string | undefined };

let begun: { request: string; report: Promise<ThawReport> } | undefined;

async function start(request: ThawRequest): Promise<ThawReport> {
  return request.all ? await thawAll(request) : await thawMountpoints(request.mountpoints, request);
}

/** The request behind the plainest of command lines; undefined for any other, which the parser is to judge first. */
function plainRequest(args: readonly string[]): ThawRequest | undefined {
  if (args.length === 1 && args[0] === '--all') return { all: true, orphaned: false };
  const [flag, freezeId] = args;
  const isNamed = flag === '--freeze' && freezeId !== undefined && isFreezeId(freezeId);
  const mountpoints = isNamed ? args.slice(2) : args;
  if (mountpoints.length === 0 || !mountpoints.every((argument) => argument.startsWith('/')))
    return undefined;
  return { all: false, mountpoints, force: false, ...(isNamed ? { freezeId } : {}) };
}

/**
 * Thaws before the command line's own modules are loaded, which takes longer than the thaw: `bin/run.js` calls it with
 * what follows `thaw`. Never rejects; the command finds the report by `thaw`.
 */
export async function beginThaw(args: readonly string[]): Promise<void> {
  const request = plainRequest(args);
  if (request === undefined) return;
  const report = start(request);
  begun = { request: JSON.stringify(request), report };
  // A rejection is the command's to tell.
  await report.catch(() => undefined);
}

/** Thaws what is requested, or waits for the same thaw that was begun before. */
export function thaw(request: ThawRequest): Promise<ThawReport> {
  if (begun?.request === JSON.stringify(request)) return begun.report;
  return start(request);
}
