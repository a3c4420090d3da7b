import { closeSync, rmSync } from 'node:fs';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { thawInBackground } from '../system/native.js';
import { adoptRecord, findRecord, readRecords, type FreezeRecordBody } from './freeze-record.js';
import { thawFailed } from './freeze-errors.js';
import type { LossReason } from './freezer.js';
import { mayHaveBeenLost, readGuardsPage } from './guards-page.js';
import { endSecond, killGuards } from './kill-guards.js';
import { openFilesystem } from './mountpoint.js';
import { byThawOrder } from './thaw-order.js';
import { within } from './within.js';

/** How long one may take before the next is tried. */
const LIMIT_MS = 30_000;

/** The device numbers of what is to be thawed, as records have them. */
export type Asked = ReadonlySet<string>;

/** What a FITHAW of ours came to. */
type Thawed = 'was held' | 'was not frozen' | 'may have been lost' | FsbackupError;

async function fithawMount(body: FreezeRecordBody): Promise<Thawed> {
  const fd = await openFilesystem(body);
  if (fd === undefined) return thawFailed(body, 'it is not mounted here any more');
  // It may wait for what lies below, and is not to keep the others from their thaw.
  const thawing = thawInBackground(fd);
  void thawing.catch(() => undefined).finally(() => closeSync(fd));
  try {
    const hasEnded = await within(
      LIMIT_MS,
      thawing.then(() => true),
    );
    return hasEnded ? 'was held' : thawFailed(body, 'FITHAW waits for what it lies on');
  } catch (error) {
    return errnoOf(error) === 'EINVAL' ? 'was not frozen' : thawFailed(body, messageOf(error));
  }
}

/** The same, of one whose guards may have been stopped in the middle of asking whether it is held. */
async function thawGuarded(body: FreezeRecordBody): Promise<Thawed> {
  const look = () => readGuardsPage(body.watchdogPids, body.slot);
  const before = look();
  const thawed = await fithawMount(body);
  return thawed === 'was held' && mayHaveBeenLost(before, look()) ? 'may have been lost' : thawed;
}

/** Ends both guards of a set: the second by itself, since it looks once more at all that it guards; else we do. */
async function endGuards(set: readonly FreezeRecordBody[], pids: readonly number[]): Promise<void> {
  const [watchdog = 0, second = 0] = pids;
  killGuards([watchdog]);
  if (!(await endSecond(second))) for (const one of set) await fithawMount(one);
}

/** What became of one that is not held any more. */
function lossOf(body: FreezeRecordBody): LossReason | undefined {
  const status = findRecord(body)?.status;
  if (status?.kind === 'thawed') return undefined;
  return status?.kind === 'lost' ? status.reason : 'guard-died';
}

/**
 * Thaws all that dead or stopped guards hold, those of `guarded`: once they have ended it is nobody's. What of it was not `asked` for
 * is lost, for `reason`. What may still be frozen has its `thawFailed`; then the guards are left alone. Nothing where a guard has
 * thawed `guarded` after all.
 */
export async function thawSetWithoutGuards(
  guarded: FreezeRecordBody,
  asked: Asked,
  reason: LossReason,
): Promise<ReadonlyMap<FreezeRecordBody, Thawed>> {
  const set = readRecords()
    .filter(({ body, status }) => body.controlPath === guarded.controlPath && status.kind === 'armed')
    .map(({ body }) => body)
    .toSorted(byThawOrder);
  const results = new Map<FreezeRecordBody, Thawed>();
  if (set.every(({ majorMinor }) => majorMinor !== guarded.majorMinor)) return results;
  for (const one of set) results.set(one, await thawGuarded(one));
  if ([...results.values()].some((result) => result instanceof FsbackupError)) return results;
  await endGuards(set, guarded.watchdogPids);
  // That of guards that were killed.
  rmSync(guarded.controlPath, { force: true });
  for (const [{ majorMinor }, thawed] of results) {
    await adoptRecord(majorMinor, async ({ body, status }, setStatus) => {
      if (body.controlPath !== guarded.controlPath) return;
      // What a guard took for a loss at its end was our thaw.
      if (asked.has(majorMinor) && thawed === 'was held') setStatus({ kind: 'thawed' });
      else if (status.kind === 'armed') setStatus({ kind: 'lost', reason, at: new Date().toISOString() });
    });
  }
  return results;
}

/**
 * Thaws a freeze whose guards are dead, or stopped, and all that they hold with it. Resolves to why this one was lost; undefined: it
 * was held until now. Rejects with `thawFailed` where it may still be frozen.
 */
export async function thawWithoutGuards(
  body: FreezeRecordBody,
  asked: Asked,
): Promise<LossReason | undefined> {
  const results = await thawSetWithoutGuards(body, asked, 'guard-died');
  const [, own] = [...results].find(([{ majorMinor }]) => majorMinor === body.majorMinor) ?? [];
  if (own instanceof FsbackupError) throw own;
  return own === 'was held' ? undefined : lossOf(body);
}
