import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { configFile, DEFAULT_CONFIG_FILE } from '../config/read-files.js';
import { packageRoot } from '../system/package-root.js';
import type { InstallFacts } from './plan-install.js';
import type { ScheduleHost } from './schedule-jobs.js';
import { hostSystemd } from './systemd.js';
import { UnitDirectory } from './unit-directory.js';

const UNIT_DIRECTORY = '/etc/systemd/system';

/** This host. */
export function scheduleHost(): ScheduleHost {
  return { systemd: hostSystemd, units: new UnitDirectory(UNIT_DIRECTORY) };
}

/** The packaged units, and what is to be filled in: this Node, this fsbackup, the configuration that was asked for. */
export async function installFacts(configFlag: string | undefined): Promise<InstallFacts> {
  const root = packageRoot();
  const template = (name: string): Promise<string> => readFile(path.join(root, 'systemd', name), 'utf8');
  const file = configFile(configFlag, process.env);
  return {
    templates: {
      'fsbackup@.service': await template('fsbackup@.service'),
      'fsbackup@.timer': await template('fsbackup@.timer'),
    },
    program: [process.execPath, path.join(root, 'bin/run.js')],
    configFile: file === DEFAULT_CONFIG_FILE ? undefined : file,
  };
}
