import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { armFreezer } from '../freeze/arm-freezer.js';
import { mountAt } from '../system/mount.js';
import type { GuardsState } from './facts.js';

/** Nothing can freeze it, and no freeze of it is on record. */
const UNFREEZABLE = '/proc';
const SETTINGS = { timeoutMs: 10_000, maxHoldMs: 60_000 };

/**
 * Starts both watchdogs as a run does, and ends them again: what weakens them here they tell by themselves. Over a
 * filesystem that cannot be frozen, since arming replaces the record of a freeze that was lost.
 */
export async function tryGuards(): Promise<GuardsState> {
  const mount = await mountAt(UNFREEZABLE);
  if (mount === undefined) {
    return { armed: false, problem: '/proc is not mounted', hint: 'Mount it: mount -t proc proc /proc' };
  }
  const target = {
    mountpoint: UNFREEZABLE,
    majorMinor: mount.majorMinor,
    device: mount.source,
    fstype: mount.fstype,
  };
  try {
    const freezer = await armFreezer({ targets: [target], devices: [] }, SETTINGS);
    const warnings = [...freezer.warnings];
    await freezer.close();
    return { armed: true, warnings };
  } catch (error) {
    // Another doctor has them up at this moment.
    if (error instanceof FsbackupError && error.code === 'locked') return { armed: true, warnings: [] };
    if (error instanceof FsbackupError) return { armed: false, problem: error.message, hint: error.hint };
    if (errnoOf(error) === undefined) throw error;
    return { armed: false, problem: messageOf(error), hint: 'Run fsbackup as root.' };
  }
}
