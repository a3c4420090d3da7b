import { realpath } from 'node:fs/promises';
import path from 'node:path';
import {
  catalogueDirectory,
  localRepository,
  repositoryFromFlag,
  targetName,
  type EngineTarget,
} from '../../backup-target.js';
import { stateDirectory } from '../../system/directories.js';

async function resolved(directory: string): Promise<string> {
  return await realpath(directory).catch(() => path.resolve(directory));
}

/**
 * Whether what somebody wrote means this target, however it is written: as `status` tells it, by another path of its
 * directory, or as `--to` names its repository. Rejects with `usage` for a password in it.
 */
export async function isMeantBy(written: string, target: EngineTarget): Promise<boolean> {
  const { path: directory, engine, repository } = target;
  if (written === directory || written === targetName(target)) return true;
  const place = repository === undefined ? directory : localRepository(target);
  if (place !== undefined) return (await resolved(written)) === (await resolved(place));
  return catalogueDirectory(engine, repositoryFromFlag(engine, written), stateDirectory()) === directory;
}
