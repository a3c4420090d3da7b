import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { describeFailure, runCommand } from '../../system/run-command.js';
import { readTrustedFile } from '../../system/trusted-file.js';
import type { SecretSource } from '../../backup-target.js';
import { withoutPasswords } from '../../system/command-line.js';

/** What reading a secret works with. */
export interface SecretReading {
  run: typeof runCommand;
  env: NodeJS.ProcessEnv;
}

const COMMAND_TIMEOUT_MS = 60_000;
/** A shorter one would be found in all sorts of words, and is none. */
const MIN_HIDDEN_LENGTH = 4;

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

async function readFile(file: string): Promise<string> {
  const text = await readTrustedFile(file, undefined, { isPrivate: true });
  if (text !== undefined) return text;
  throw usage(`there is no file ${file} to read a secret from`, 'Write the secret to it, for root alone.');
}

async function readCredential(name: string, env: NodeJS.ProcessEnv): Promise<string> {
  const directory = env['CREDENTIALS_DIRECTORY'];
  if (directory === undefined || directory === '') {
    throw usage(
      `there is no credential ${name}: systemd has handed none to this process`,
      `Give the unit LoadCredential=${name}:FILE, and run it as that unit; or name the file here.`,
    );
  }
  return await readFile(path.join(directory, name));
}

async function readCommand(command: readonly string[], run: typeof runCommand): Promise<string> {
  const [program = '', ...args] = command;
  const result = await run([program, ...args], { timeoutMs: COMMAND_TIMEOUT_MS });
  if (result.exitCode === 0) return result.stdout;
  // What it wrote is not told: it may be the secret.
  const how = describeFailure(program, { ...result, stderr: '' });
  throw usage(`the command that prints a secret failed: ${how}`, 'Run it by hand, as root, to see why.');
}

/**
 * Reads a secret, without the newline at its end. Rejects with `usage` where there is none, or where others may read
 * the file that it stands in.
 */
async function readSecret(source: SecretSource, { run, env }: SecretReading): Promise<string> {
  const text =
    'file' in source
      ? await readFile(source.file)
      : 'command' in source
        ? await readCommand(source.command, run)
        : await readCredential(source.credential, env);
  const secret = text.replace(/\r?\n$/, '');
  if (secret !== '' && !secret.includes('\0')) return secret;
  const where =
    'file' in source
      ? source.file
      : 'command' in source
        ? (source.command[0] ?? '')
        : `the credential ${source.credential}`;
  throw usage(`${where} has no secret in it`, 'Write it there; a newline at its end does not count.');
}

/** Variables for a program, and what must not be seen of them. */
export interface SecretVariables {
  env: Readonly<Record<string, string>>;
  /** A text without these secrets, and without the passwords of URLs. */
  scrub: (text: string) => string;
}

/** Reads all secrets of some variables. Rejects as the reading of the first that fails. */
export async function readVariables(
  variables: Readonly<Record<string, string | SecretSource>>,
  reading: SecretReading = { run: runCommand, env: process.env },
): Promise<SecretVariables> {
  const env: Record<string, string> = {};
  const secrets: string[] = [];
  for (const [name, value] of Object.entries(variables)) {
    const text = typeof value === 'string' ? value : await readSecret(value, reading);
    env[name] = text;
    if (typeof value !== 'string') secrets.push(text, encodeURIComponent(text));
  }
  const hidden = secrets.filter((secret) => secret.length >= MIN_HIDDEN_LENGTH);
  // The longest first: one may be part of another.
  hidden.sort((a, b) => b.length - a.length);
  return {
    env,
    scrub: (text) => hidden.reduce((left, secret) => left.replaceAll(secret, '***'), withoutPasswords(text)),
  };
}
