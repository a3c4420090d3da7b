import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findOutdated } from '../../../src/schedule/outdated.js';
import { planInstall, type InstallFacts } from '../../../src/schedule/plan-install.js';
import { installFacts } from '../../../src/schedule/schedule-host.js';
import { failedJobs } from '../../../src/schedule/schedule-status.js';
import { UnitDirectory } from '../../../src/schedule/unit-directory.js';
import { aJob } from '../../support/plan-facts.js';

let directory: string;
let units: UnitDirectory;
let facts: InstallFacts;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'outdated-'));
  units = new UnitDirectory(directory);
  facts = await installFacts(undefined);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const PROGRAM = ['/opt/node 20/"bin"/node', String.raw`/srv/50%i $HOME\fsbackup/bin/run.js`];

async function install(over: Partial<InstallFacts> = {}): Promise<void> {
  const schedule = { job: aJob({ name: 'srv' }), calendar: undefined };
  await units.install(planInstall([schedule], { ...facts, program: PROGRAM, ...over }));
}

function outdated(there: readonly string[] = PROGRAM): Promise<string[]> {
  return findOutdated(facts, units, (file) => there.includes(file));
}

it('finds nothing where nothing is installed, or what this version writes, wherever it lies', async () => {
  expect(await outdated()).toEqual([]);
  await install();
  expect(await outdated()).toEqual([]);
});

it('tells that what the units run is not there any more', async () => {
  await install();
  expect(await outdated(PROGRAM.slice(0, 1))).toEqual([
    `fsbackup@.service runs ${PROGRAM[1] ?? ''}, which is not there`,
  ]);
  expect(await outdated([])).toEqual([`fsbackup@.service runs ${PROGRAM.join(' and ')}, which is not there`]);
});

it('tells of units of another version, and not of those that are somebody else’s', async () => {
  const { templates } = facts;
  await install({
    templates: { ...templates, 'fsbackup@.timer': `${templates['fsbackup@.timer']}AccuracySec=1h\n` },
  });
  expect(await outdated()).toEqual([
    'fsbackup@.timer was written by another version of fsbackup than this one',
  ]);
  await writeFile(path.join(directory, 'fsbackup@.timer'), '[Timer]\nOnCalendar=daily\n');
  expect(await outdated()).toEqual([]);
});

it('a last run that failed is one that the unit says so of', () => {
  const state = {
    timer: '',
    enabled: true,
    active: true,
    next: null,
    last: null,
    running: false,
    exitCode: null,
    configFile: '',
  };
  const results = [null, 'success', 'exit-code', 'signal'];
  const schedules = results.map((result) => ({ ...state, job: String(result), result }));
  expect(failedJobs({ version: 1, schedules })).toEqual(['exit-code', 'signal']);
});
