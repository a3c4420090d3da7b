import { expect, it } from 'vitest';
import { runDirectory, stateDirectory } from '../../../src/system/directories.js';

it.each([
  [{}, '/run/fsbackup', '/var/lib/fsbackup'],
  [{ FSBACKUP_RUN_DIR: '', FSBACKUP_STATE_DIR: '' }, '/run/fsbackup', '/var/lib/fsbackup'],
  [{ FSBACKUP_RUN_DIR: '/a/', FSBACKUP_STATE_DIR: '/b' }, '/a', '/b'],
])('%j: the run directory is %s, the state directory %s', (env, run, state) => {
  expect([runDirectory(env), stateDirectory(env)]).toEqual([run, state]);
});
