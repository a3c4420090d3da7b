import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { isNameTelling, isSameHost, thisHost } from '../../../src/system/this-host.js';

it('has an id that does not tell the machine-id, and none where there is none yet', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'host-'));
  try {
    const file = path.join(directory, 'machine-id');
    const of = { machineId: file, state: directory };
    expect(thisHost(of)).toEqual({ name: os.hostname() });
    await writeFile(file, 'uninitialized\n');
    expect(thisHost(of)).toEqual({ name: os.hostname() });
    await writeFile(file, '0123456789abcdef0123456789abcdef\n');
    const { id } = thisHost(of);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(id).not.toBe('0123456789abcdef0123456789abcdef');
    expect(thisHost(of).id).toBe(id);
  } finally {
    await rm(directory, { recursive: true });
  }
});

it('has one that its state directory keeps where it has no machine-id, as a container', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'host-'));
  try {
    const of = { machineId: path.join(directory, 'none'), state: directory };
    const made = thisHost({ ...of, mayMake: true });
    expect(made.id).toMatch(/^state-[0-9a-f]{32}$/);
    expect(thisHost({ ...of, mayMake: true })).toEqual(made);
    expect(thisHost(of)).toEqual(made);
    expect((await stat(path.join(directory, 'host-id'))).mode & 0o777).toBe(0o600);
    // Its name is another one each time; that of a clone tells it from what it was cloned from.
    expect(isNameTelling(made)).toBe(false);
    expect(isNameTelling({ name: 'a', id: '0'.repeat(32) })).toBe(true);
    expect(isNameTelling({ name: 'a' })).toBe(true);
    expect(thisHost({ ...of, state: path.join(directory, 'none'), mayMake: true })).toEqual({
      name: os.hostname(),
    });
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
