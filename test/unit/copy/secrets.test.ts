import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readVariables, type SecretReading } from '../../../src/copy/repository/secrets.js';
import { runCommand } from '../../../src/system/run-command.js';

let directory: string;
let reading: SecretReading;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'secrets-'));
  reading = { run: runCommand, env: { CREDENTIALS_DIRECTORY: directory } };
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function secret(name: string, text: string, mode = 0o600): Promise<string> {
  const file = path.join(directory, name);
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

it('come from files, commands and credentials, without the newline at their end, and are told to nobody', async () => {
  const file = await secret('a-file', ' one two \n');
  await secret('a-credential', 'three\n\n', 0o400);
  const { env, scrub } = await readVariables(
    {
      PLAIN: 'plain',
      FILE: { file },
      COMMAND: { command: ['printf', 'f%sr', 'ou'] },
      CREDENTIAL: { credential: 'a-credential' },
    },
    reading,
  );
  expect(env).toEqual({ PLAIN: 'plain', FILE: ' one two ', COMMAND: 'four', CREDENTIAL: 'three\n' });
  expect(scrub('plain < one two >%20one%20two%20 rest:http://me:hush@host/ four')).toBe(
    'plain <***>*** rest:http://me:***@host/ ***',
  );
});

it.each([
  ['others may read', 'x', 0o604, 'may be read by its group or by others'],
  ['its group may read', 'x', 0o640, 'may be read by its group or by others'],
  ['others may write', 'x', 0o602, 'may be written by its group or by others'],
  ['is empty', '\n', 0o600, 'has no secret in it'],
])('in a file that %s are refused', async (_, text, mode, message) => {
  const file = await secret('key', text, mode);
  await expect(readVariables({ A: { file } }, reading)).rejects.toMatchObject({ code: 'usage' });
  await expect(readVariables({ A: { file } }, reading)).rejects.toThrow(message);
});

it('of another owner are refused', async () => {
  const file = await secret('key', 'x');
  const { chown } = await import('node:fs/promises');
  await chown(file, 12_345, 0);
  await expect(readVariables({ A: { file } }, reading)).rejects.toThrow('belongs to uid 12345');
});

it('are not in the error of the command that should have printed them', async () => {
  const command = ['sh', '-c', 'echo hush; echo hush >&2; exit 3'];
  const error: unknown = await readVariables({ A: { command } }, reading).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'usage', message: expect.stringContaining('exit code 3') });
  expect(JSON.stringify(error) + String(error)).not.toContain('hush');
});

it('that are not there are named by where they should be', async () => {
  const missing = path.join(directory, 'missing');
  await expect(readVariables({ A: { file: missing } }, reading)).rejects.toThrow(missing);
  await expect(readVariables({ A: { credential: 'none' } }, reading)).rejects.toThrow('none');
  const noUnit = { ...reading, env: {} };
  await expect(readVariables({ A: { credential: 'none' } }, noUnit)).rejects.toThrow(
    'there is no credential none',
  );
});
