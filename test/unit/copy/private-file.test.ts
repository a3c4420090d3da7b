import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { writeImage } from '../../../src/copy/image/image-writer.js';
import type { CommandResult } from '../../../src/system/run-command.js';

it('an image is for root alone, also where zstd makes its file anew', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'private-'));
  try {
    const device = path.join(directory, 'device');
    await writeFile(device, 'content of a device');
    const modes: number[] = [];
    const run = async (argv: readonly string[]): Promise<CommandResult> => {
      const file = argv.at(-1) ?? '';
      modes.push((await stat(file)).mode & 0o777);
      await rm(file);
      await writeFile(file, 'packed', { mode: 0o644 });
      const ended = { exitCode: 0, signal: undefined, notFound: false, timedOut: false, aborted: false };
      return { ...ended, stdout: '', stderr: '' };
    };
    const { signal } = new AbortController();
    const what = { device, name: 'srv', extents: [], zeros: [], dataDirectory: directory };
    await writeImage({ ...what, signal, onBytes: () => undefined }, run);
    modes.push((await stat(path.join(directory, 'srv.chunks.zst'))).mode & 0o777);
    expect(modes).toEqual([0o600, 0o600]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
