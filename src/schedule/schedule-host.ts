import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { configFile, DEFAULT_CONFIG_FILE } from '../config/read-files.js';
import { runDirectory, stateDirectory } from '../system/directories.js';
import { packageRoot } from '../system/package-root.js';
import { listTrustedDirectory, readTrustedFile } from '../system/trusted-file.js';
import type { InstallFacts } from './plan-install.js';
import type { ScheduleHost } from './schedule-jobs.js';
import { hostSystemd } from './systemd.js';
import { UnitDirectory } from './unit-directory.js';

const UNIT_DIRECTORY = '/etc/systemd/system';

/** This host. */
export function scheduleHost(): ScheduleHost {
  return { systemd: hostSystemd, units: new UnitDirectory(UNIT_DIRECTORY) };
}

/** The configuration that was asked for; undefined: the default one. */
export function otherConfiguration(configFlag: string | undefined): string | undefined {
  const file = configFile(configFlag, process.env);
  return file === DEFAULT_CONFIG_FILE ? undefined : file;
}

/** Variables that name a run or state directory which is not the default one. */
function otherDirectories(env: NodeJS.ProcessEnv): Record<string, string> {
  const named = [
    ['FSBACKUP_RUN_DIR', runDirectory],
    ['FSBACKUP_STATE_DIR', stateDirectory],
  ] as const;
  return Object.fromEntries(
    named.flatMap(([name, read]) => (read(env) === read({}) ? [] : [[name, read(env)] as const])),
  );
}

/** The packaged units, and what is to be filled in: this Node, this fsbackup, the places that were asked for. */
export async function installFacts(configFlag: string | undefined): Promise<InstallFacts> {
  const root = packageRoot();
  const template = (name: string): Promise<string> => readFile(path.join(root, 'systemd', name), 'utf8');
  return {
    templates: {
      'fsbackup@.service': await template('fsbackup@.service'),
      'fsbackup@.timer': await template('fsbackup@.timer'),
    },
    program: [process.execPath, path.join(root, 'bin/run.js')],
    configFile: otherConfiguration(configFlag),
    directories: otherDirectories(process.env),
  };
}

/**
 * Rejects with `usage` unless only root (or who runs this) can have written what systemd is to run as root from now on, at
 * times that nobody sees.
 */
export async function requireTrustedProgram(
  [node = '', script = '']: InstallFacts['program'],
  uids?: readonly number[],
): Promise<void> {
  await listTrustedDirectory(path.dirname(node), uids);
  await readTrustedFile(script, uids);
  await listTrustedDirectory(path.join(path.dirname(script), '../dist'), uids);
}
