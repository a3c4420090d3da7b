import { closeSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openFilesystem, openMount } from '../../../src/freeze/mountpoint.js';
import * as descriptorMount from '../../../src/system/descriptor-mount.js';
import * as mountinfo from '../../../src/system/mountinfo.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
vi.mock('../../../src/system/descriptor-mount.js', { spy: true });
vi.mock('../../../src/system/mountinfo.js', { spy: true });

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'mountpoint-'));
});
afterEach(() => {
  vi.resetAllMocks();
  rmSync(directory, { recursive: true });
});

async function here(): Promise<mountinfo.Mount> {
  const { fd, mount } = await openMount(directory);
  closeSync(fd);
  return mount;
}

describe('what is opened by its name', () => {
  it('says on which mount it lies', async () => {
    const { fd, mount } = await openMount(directory);
    expect(timesOpen(directory)).toBe(1);
    closeSync(fd);
    expect(directory.startsWith(mount.mountpoint)).toBe(true);
  });

  it('is a directory that is there', async () => {
    const file = path.join(directory, 'file');
    writeFileSync(file, '');
    await expect(openMount(file)).rejects.toMatchObject({
      code: 'usage',
      message: `${file} cannot be opened as a directory (ENOTDIR)`,
    });
    await expect(openMount(`${file}s`)).rejects.toMatchObject({
      code: 'usage',
      message: `${file}s does not exist`,
    });
  });

  it('is refused, and not left open, where nobody knows on which mount it lies', async () => {
    vi.mocked(descriptorMount.mountOfDescriptor).mockResolvedValue(undefined);
    await expect(openMount(directory)).rejects.toMatchObject({ code: 'notFrozen' });
    expect(timesOpen(directory)).toBe(0);
  });
});

describe('a filesystem', () => {
  it('is opened where it is mounted, past what lies over a mountpoint of it', async () => {
    const mount = await here();
    const file = path.join(directory, 'file');
    writeFileSync(file, '');
    const others = await mountinfo.readMounts();
    vi.mocked(mountinfo.readMounts).mockResolvedValue([
      // What is found there is on another mount, or no directory.
      { ...mount, mountpoint: '/proc' },
      { ...mount, mountpoint: file },
      { ...mount, mountpoint: directory },
      ...others,
    ]);
    const fd = await openFilesystem(mount);
    expect([timesOpen(directory), timesOpen('/proc')]).toEqual([1, 0]);
    closeSync(fd ?? -1);
  });

  it('is not opened where it is mounted nowhere', async () => {
    const mount = await here();
    expect(await openFilesystem({ ...mount, fstype: 'none' })).toBeUndefined();
    expect(await openFilesystem({ ...mount, majorMinor: '0:999999' })).toBeUndefined();
  });
});
