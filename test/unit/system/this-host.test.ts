import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { isSameHost, thisHost } from '../../../src/system/this-host.js';

it('has an id that does not tell the machine-id, and none where there is none yet', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'host-'));
  try {
    const file = path.join(directory, 'machine-id');
    expect(thisHost(file)).toEqual({ name: os.hostname() });
    await writeFile(file, 'uninitialized\n');
    expect(thisHost(file)).toEqual({ name: os.hostname() });
    await writeFile(file, '0123456789abcdef0123456789abcdef\n');
    const { id } = thisHost(file);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(id).not.toBe('0123456789abcdef0123456789abcdef');
    expect(thisHost(file).id).toBe(id);
  } finally {
    await rm(directory, { recursive: true });
  }
});

it('is the same after it was renamed, and another one with its name', () => {
  expect(isSameHost({ name: 'a', id: '1' }, { name: 'b', id: '1' })).toBe(true);
  expect(isSameHost({ name: 'a', id: '1' }, { name: 'a', id: '2' })).toBe(false);
  expect(isSameHost({ name: 'a' }, { name: 'a', id: '2' })).toBe(true);
  expect(isSameHost({ name: 'a' }, { name: 'b', id: '2' })).toBe(false);
});
