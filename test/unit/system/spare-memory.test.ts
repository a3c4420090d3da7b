import path from 'node:path';
import { expect, it } from 'vitest';
import { runCommand } from '../../../src/system/run-command.js';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

/** Makes garbage by the dozen MiB and prints what the young generation has grown to, in MiB. */
const program = (first: string): string => `
  import { getHeapSpaceStatistics } from 'node:v8';
  import { spareMemory } from './src/system/spare-memory.ts';
  ${first}
  const held = [];
  for (let index = 0; index < 500_000; index += 1) held[index % 20_000] = ['line', index].join(' ').split(' ');
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
  console.log(Math.round(young.space_size / 1024 ** 2));
`;

async function youngMiB(first: string): Promise<number> {
  const argv = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', program(first)] as const;
  const result = await runCommand([...argv], { cwd: PROJECT, timeoutMs: 100_000 });
  // V8 complains there of flags that it does not know.
  expect(result.stderr).toBe('');
  return Number(result.stdout);
}

it('keeps the young generation from growing', async () => {
  expect(await youngMiB('')).toBeGreaterThanOrEqual(16);
  expect(await youngMiB('spareMemory();')).toBeLessThanOrEqual(8);
});
