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
 * Thaws a freeze whose guards are dead, or stopped, and all that they hold with it: once they have ended that is nobody's.
 * What of that was not `asked` for is lost. Resolves to why this one was lost; undefined: it was held until now. Rejects with
 * `thawFailed` where it may still be frozen. Where any of them may be, the guards are left alone.
 */
export async function thawWithoutGuards(
  body: FreezeRecordBody,
  asked: Asked,
): Promise<LossReason | undefined> {
  const set = readRecords()
    .filter(({ body: one, status }) => one.controlPath === body.controlPath && status.kind === 'armed')
    .map((record) => record.body)
    .toSorted(byThawOrder);
  // A guard did at last what it was asked for.
  if (set.every(({ majorMinor }) => majorMinor !== body.majorMinor)) return lossOf(body);
  const results = new Map<string, Thawed>();
  for (const one of set) results.set(one.majorMinor, await thawGuarded(one));
  const own = results.get(body.majorMinor);
  if (own instanceof FsbackupError) throw own;
  if ([...results.values()].every((result) => !(result instanceof FsbackupError))) {
    await endGuards(set, body.watchdogPids);
    // That of guards that were killed.
    rmSync(body.controlPath, { force: true });
    for (const { majorMinor } of set) {
      await adoptRecord(majorMinor, async (record, setStatus) => {
        if (record.body.controlPath !== body.controlPath) return;
        // What a guard took for a loss at its end was our thaw.
        if (asked.has(majorMinor) && results.get(majorMinor) === 'was held') setStatus({ kind: 'thawed' });
        else if (record.status.kind === 'armed')
          setStatus({ kind: 'lost', reason: 'guard-died', at: new Date().toISOString() });
      });
    }
  }
  return own === 'was held' ? undefined : lossOf(body);
}
