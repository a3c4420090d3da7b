import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { findFreezeTargets } from '../../../src/freeze/freeze-targets.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import * as numbers from '../../../src/system/device-number.js';
import * as facts from '../../../src/system/filesystem-facts.js';
import * as inUse from '../../../src/system/in-use.js';
import * as mountinfo from '../../../src/system/mountinfo.js';
import { aFilesystem } from '../../support/plan-facts.js';

// Other tests of this process have loaded what is mocked here. Directories stand for what is mounted.
vi.hoisted(() => vi.resetModules());
vi.mock('../../../src/system/device-number.js', { spy: true });
vi.mock('../../../src/system/filesystem-facts.js', { spy: true });
vi.mock('../../../src/system/in-use.js', { spy: true });
vi.mock('../../../src/system/mountinfo.js', { spy: true });

const NO_FORCE = { force: false };

let directory: string;
let filesystems: Map<string, FilesystemFacts>;

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'targets-'));
  filesystems = new Map();
  vi.mocked(facts.readFilesystemFacts).mockImplementation(async (name) => {
    const filesystem = filesystems.get(path.relative(directory, name).split('/')[0] ?? '');
    if (filesystem === undefined) throw new Error(`nothing is mounted at ${name}`);
    return { path: name, filesystem };
  });
  vi.mocked(inUse.readFilesystemsInUse).mockResolvedValue([]);
});
afterEach(() => {
  vi.resetAllMocks();
  rmSync(directory, { recursive: true });
});

const at = (name: string): string => path.join(directory, name);

function mounted(
  name: string,
  majorMinor: string,
  changes: { fstype?: string; below?: string[] } = {},
): void {
  mkdirSync(at(name));
  const { fstype = 'ext4', below = [] } = changes;
  filesystems.set(name, {
    ...aFilesystem({ mountpoint: at(name), majorMinor, fstype, source: `/dev/${name}` }),
    below,
  });
}

it('are each filesystem once, the upper of a stack before the lower', async () => {
  mounted('lower', '8:1');
  mounted('upper', '7:1', { below: ['8:1'] });
  symlinkSync(at('lower'), at('alias'));
  filesystems.set('alias', filesystems.get('lower') ?? aFilesystem());
  expect(await findFreezeTargets([at('lower'), at('upper'), at('alias')], NO_FORCE)).toEqual([
    { mountpoint: at('upper'), majorMinor: '7:1', device: '/dev/upper', fstype: 'ext4' },
    { mountpoint: at('lower'), majorMinor: '8:1', device: '/dev/lower', fstype: 'ext4' },
  ]);
});

it('are not what cannot be frozen: without a device, or of a kind that does not know how', async () => {
  mounted('memory', '0:1', { fstype: 'tmpfs' });
  mounted('stick', '8:2', { fstype: 'vfat' });
  for (const name of ['memory', 'stick'])
    await expect(findFreezeTargets([at(name)], { force: true })).rejects.toMatchObject({
      code: 'notFrozen',
      message: expect.stringContaining('which cannot be frozen') as string,
    });
});

it('are not what the machine or we ourselves need, nor what lies above that, but by force', async () => {
  mounted('srv', '8:1');
  mounted('home', '8:2');
  vi.mocked(inUse.readFilesystemsInUse).mockResolvedValue([
    { what: 'a swap file', majorMinor: '8:9', below: [] },
    { what: 'the standard output', majorMinor: '7:1', below: ['8:1'] },
  ]);
  await expect(findFreezeTargets([at('home'), at('srv')], NO_FORCE)).rejects.toMatchObject({
    code: 'notFrozen',
    message: `${at('srv')} holds the standard output: freezing it could block fsbackup or the machine`,
  });
  expect(await findFreezeTargets([at('home')], NO_FORCE)).toHaveLength(1);
  expect(await findFreezeTargets([at('home'), at('srv')], { force: true })).toHaveLength(2);
});

it('are named by their mountpoints', async () => {
  mounted('srv', '8:1');
  mkdirSync(at('srv/below'));
  await expect(findFreezeTargets([at('srv/below')], NO_FORCE)).rejects.toMatchObject({
    code: 'usage',
    message: `${at('srv/below')} is not a mountpoint; it belongs to ${at('srv')}`,
  });
});

it('are not named by a device, nor by a file: where a device is mounted is told', async () => {
  mounted('srv', '8:1');
  writeFileSync(at('srv/device'), '');
  const hint = async (): Promise<unknown> =>
    await findFreezeTargets([at('srv/device')], NO_FORCE).catch((error: unknown) => error);
  vi.mocked(numbers.deviceNumber).mockResolvedValue('8:1');
  vi.mocked(mountinfo.readMounts).mockResolvedValue([filesystems.get('srv')?.mount ?? aFilesystem().mount]);
  expect(await hint()).toMatchObject({
    code: 'usage',
    message: `${at('srv/device')} is not a directory, and so no mountpoint`,
    hint: `Name where it is mounted: ${at('srv')}.`,
  });
  vi.mocked(numbers.deviceNumber).mockResolvedValue(undefined);
  expect(await hint()).toMatchObject({ hint: expect.stringContaining('Name the mountpoint') as string });
});

it('that are not there are told by who looks for the filesystem', async () => {
  await expect(findFreezeTargets([at('none')], NO_FORCE)).rejects.toThrow('nothing is mounted');
});
