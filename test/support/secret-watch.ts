import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StartedCli } from './fsbackup-cli.js';

/** The arguments of all processes that were seen while a command ran, but for those of `except`: NUL between them. */
export async function argumentsSeen(started: StartedCli, except: number | undefined): Promise<string[]> {
  const seen = new Set<string>();
  while (!started.hasEnded) {
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      if (pid === String(except)) continue;
      seen.add(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
    }
    await sleep(10);
  }
  return [...seen];
}

/** All text in the files below a directory. */
export async function textBelow(directory: string): Promise<string> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = await Promise.all(
    files.map((entry) => readFile(`${entry.parentPath}/${entry.name}`, 'latin1')),
  );
  return texts.join('\n');
}
