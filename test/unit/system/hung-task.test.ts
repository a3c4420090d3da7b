import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readHungTaskTimeoutMs } from '../../../src/system/hung-task.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'fsbackup-hung-task-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

it.each([
  ['120\n', 120_000],
  ['0\n', null],
])('reads %j as %s', async (text, ms) => {
  const file = path.join(directory, 'hung_task_timeout_secs');
  await writeFile(file, text);
  await expect(readHungTaskTimeoutMs(file)).resolves.toBe(ms);
});

it('takes a kernel without the check as one where it is off', async () => {
  await expect(readHungTaskTimeoutMs(path.join(directory, 'absent'))).resolves.toBeNull();
});
