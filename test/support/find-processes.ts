import { readdir, readFile } from 'node:fs/promises';

/** Processes of a name whose arguments and environment hold all of these, one of the test's own paths among them. */
export async function findProcesses(name: string, ...words: string[]): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const read = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    const text = `${await read('cmdline')}\0${await read('environ')}`;
    if ((await read('comm')).trim() === name && words.every((word) => text.includes(word)))
      found.push(Number(pid));
  }
  return found;
}
