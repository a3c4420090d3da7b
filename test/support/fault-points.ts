import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** A named boundary, as the sources have it. */
export interface FaultPoint {
  name: string;
  /** Relative to the project. */
  file: string;
  /** Whether it stands for something that can fail. */
  canFail: boolean;
}

function filesIn(directory: string, pattern: RegExp): string[] {
  return readdirSync(path.join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name) && !name.startsWith('build'))
    .map((name) => path.join(directory, name))
    .toSorted();
}

function findFaultPoints(): FaultPoint[] {
  const points: FaultPoint[] = [];
  for (const file of [...filesIn('src', /\.ts$/), ...filesIn('native', /\.[ch]$/)]) {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    for (const [, how, name = ''] of text.matchAll(
      /\b(faultPoint|FAULT_POINT|FAULT_ERRNO)\(['"]([^'"]+)['"]\)/g,
    )) {
      const other = points.find((point) => point.name === name);
      if (other !== undefined) throw new Error(`${name} stands in ${other.file} and in ${file}`);
      points.push({ name, file, canFail: how !== 'FAULT_POINT' });
    }
  }
  return points;
}

let found: readonly FaultPoint[] | undefined;

/** Every boundary that has a name, found in the sources, which are read once. Throws when two share one. */
export function listFaultPoints(): readonly FaultPoint[] {
  found ??= findFaultPoints();
  return found;
}
