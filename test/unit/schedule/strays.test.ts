import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { planInstall } from '../../../src/schedule/plan-install.js';
import { installFacts } from '../../../src/schedule/schedule-host.js';
import { describeStray, findStrays } from '../../../src/schedule/strays.js';
import { UnitDirectory } from '../../../src/schedule/unit-directory.js';
import { aJob } from '../../support/plan-facts.js';

let directory: string;
let units: UnitDirectory;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'strays-'));
  units = new UnitDirectory(directory);
  vi.stubEnv('FSBACKUP_CONFIG', '');
  vi.stubEnv('FSBACKUP_RUN_DIR', '');
  vi.stubEnv('FSBACKUP_STATE_DIR', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});

async function install(name: string, config: string | undefined): Promise<void> {
  await units.install(
    planInstall([{ job: aJob({ name }), calendar: undefined }], await installFacts(config)),
  );
}

it('a timer whose job was renamed is a stray, and none of another configuration', async () => {
  await install('srv', undefined);
  await install('home', undefined);
  await install('other', '/etc/other 50%.yaml');
  const web = [{ name: 'web' }, { name: 'home' }];
  expect(await findStrays(web, undefined, units)).toEqual(['srv']);
  expect(await findStrays(web, '/etc/other 50%.yaml', units)).toEqual(['other']);
  expect(await findStrays(web, '/etc/third.yaml', units)).toEqual([]);
  expect(describeStray('srv')).toContain('fsbackup schedule remove srv');
});

it('the run and the state directory of who installs are those of the timer', async () => {
  vi.stubEnv('FSBACKUP_STATE_DIR', '/srv/50% state');
  vi.stubEnv('FSBACKUP_RUN_DIR', '/run/fsbackup');
  await install('srv', undefined);
  const dropIn = await readFile(path.join(directory, 'fsbackup@srv.service.d/50-fsbackup.conf'), 'utf8');
  expect(dropIn.split('\n').slice(1)).toEqual([
    '[Service]',
    'Environment="FSBACKUP_STATE_DIR=/srv/50%% state"',
    '',
  ]);
});
