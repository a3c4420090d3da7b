import { chmod, chown, lstat, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { exists } from './exists.js';

/** What a filesystem takes and does not keep. What it refuses, whoever writes is told of. */
export interface NotKept {
  /** Two names are one file: they differ by case alone (CIFS, exFAT, NTFS, ext4's casefold), or by how Unicode writes them (HFS+). */
  foldsNames: boolean;
  /** Owner, group or mode are others than it said that it has set (CIFS without UNIX extensions, many FUSE ones). */
  losesRights: boolean;
}

/** Begins the name of the directory that is made for it. */
const PROBE = '.fsbackup-probe-';

/** A name, and another that is the same to a filesystem that folds names. */
const PAIRS = [
  ['case', 'CASE'],
  ['\u{e9}', 'e\u{301}'],
] as const;

/** Neither root's, nor what is the default of anything. */
const [UID, GID, MODE] = [1234, 2345, 0o610];

/** What a probe asks the filesystem for. */
export interface ProbeEffects {
  exists: (file: string) => Promise<boolean>;
  chown: (file: string, uid: number, gid: number) => Promise<void>;
  chmod: (file: string, mode: number) => Promise<void>;
}

async function foldsNames(directory: string, { exists: isThere }: ProbeEffects): Promise<boolean> {
  for (const [name, other] of PAIRS) {
    await writeFile(path.join(directory, name), '', { flag: 'wx' });
    if (await isThere(path.join(directory, other))) return true;
  }
  return false;
}

async function losesRights(directory: string, effects: ProbeEffects): Promise<boolean> {
  const file = path.join(directory, 'rights');
  await writeFile(file, '', { flag: 'wx', mode: 0o600 });
  const took = async (work: Promise<void>): Promise<boolean> =>
    await work.then(
      () => true,
      () => false,
    );
  const tookOwner = await took(effects.chown(file, UID, GID));
  const tookMode = await took(effects.chmod(file, MODE));
  const { uid, gid, mode } = await lstat(file);
  return (tookOwner && (uid !== UID || gid !== GID)) || (tookMode && (mode & 0o7777) !== MODE);
}

/**
 * Tries what the filesystem keeps that `directory` lies on, which must answer to who writes (`requireAnswer`), in a directory that is
 * made in it and removed. Never rejects: where that cannot be made, whoever writes next is told why.
 */
export async function probeKeeping(
  directory: string,
  effects: ProbeEffects = { exists, chown, chmod },
): Promise<NotKept> {
  const kept = { foldsNames: false, losesRights: false };
  let probe: string | undefined;
  try {
    probe = await mkdtemp(path.join(directory, PROBE));
    const folds = await foldsNames(probe, effects);
    return { foldsNames: folds, losesRights: await losesRights(probe, effects) };
  } catch {
    return kept;
  } finally {
    if (probe !== undefined) await rm(probe, { recursive: true, force: true }).catch(() => undefined);
  }
}
