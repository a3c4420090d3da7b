import { readFile } from 'node:fs/promises';
import { errnoOf } from '../errors.js';

/** The mountpoints that fstab(5) names, `noauto` ones included. An absent file names none. */
export async function readFstabMountpoints(file = '/etc/fstab'): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(/\s+/)[1] ?? '')
    .map((field) =>
      field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCodePoint(Number.parseInt(octal, 8)),
      ),
    )
    .filter((field) => field.startsWith('/'));
}
