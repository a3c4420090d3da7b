import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { unmountedAbove, unmountedBelow } from '../../../src/system/unmounted.js';
import type { Mount } from '../../../src/system/mountinfo.js';
import { aMount } from '../../support/plan-facts.js';

let top: string;
let fstab: string;
let mounts: Mount[];

beforeEach(() => {
  top = realpathSync(mkdtempSync(path.join(tmpdir(), 'fstab-')));
  fstab = path.join(top, 'fstab');
  mounts = [aMount({ mountId: 1, parentId: 1, mountpoint: '/' })];
  mkdirSync(path.join(top, 'srv/home'), { recursive: true });
});
afterEach(() => {
  rmSync(top, { recursive: true });
});

function mounted(where: string, fstype = 'ext4'): void {
  mounts.push(aMount({ mountId: mounts.length + 1, parentId: 1, mountpoint: path.join(top, where), fstype }));
}

/** Each of `entries`: where, then type and options as they are written. */
function write(...entries: string[]): void {
  writeFileSync(fstab, entries.map((entry) => `/dev/x ${top}/${entry} 0 0\n`).join(''));
}

async function below(where: string): Promise<string[]> {
  const found = await unmountedBelow(path.join(top, where), mounts, fstab);
  return found.map((mountpoint) => path.relative(top, mountpoint));
}

it('finds what is not mounted below a directory, there or not, each once', async () => {
  write(
    'srv/home ext4 nofail',
    'srv/home ext4 ro',
    'srv/new ext4 defaults',
    'srv ext4 defaults',
    'other ext4 x',
  );
  expect(await below('srv')).toEqual(['srv/home', 'srv/new']);
  mounted('srv/home');
  expect(await below('srv')).toEqual(['srv/new']);
});

it('leaves out what is mounted when it is wanted, and what holds nothing', async () => {
  write('srv/a ext4 noauto,ro', 'srv/b swap sw', 'srv/c tmpfs size=1g', 'srv/d ext4 auto');
  expect(await below('srv')).toEqual(['srv/d']);
  writeFileSync(fstab, '/dev/x none swap sw 0 0\n');
  expect(await below('srv')).toEqual([]);
});

it('takes an automount that nobody has come to, and what another mount hides, for what they show', async () => {
  write('srv/home ext4 x-systemd.automount');
  mounted('srv/home', 'autofs');
  expect(await below('srv')).toEqual(['srv/home']);
  mounted('srv/home');
  expect(await below('srv')).toEqual([]);
  mounted('srv');
  expect(await below('srv')).toEqual(['srv/home']);
});

it('follows symlinks to where the mountpoint is, by any way', async () => {
  symlinkSync('srv', path.join(top, 'relative'));
  symlinkSync(path.join(top, 'relative/home'), path.join(top, 'link'));
  symlinkSync('../../elsewhere', path.join(top, 'srv/home/out'));
  symlinkSync('loop', path.join(top, 'loop'));
  for (const written of ['link', 'relative/home', 'relative/./home/']) {
    write(`${written} ext4 defaults`);
    expect(await below('srv')).toEqual(['srv/home']);
    expect(await unmountedAbove(path.join(top, 'srv/home/deep'), mounts, fstab)).toEqual({
      written: `${top}/${written}`,
      mountpoint: path.join(top, 'srv/home'),
    });
  }
  write('srv/home/out/x ext4 defaults', 'loop ext4 defaults');
  expect(await below('srv')).toEqual([]);
  mounted('srv/home');
  write('link ext4 defaults');
  expect(await below('srv')).toEqual([]);
  expect(await unmountedAbove(path.join(top, 'srv/home'), mounts, fstab)).toBeUndefined();
});

it('looks into nothing that could hang', async () => {
  symlinkSync(path.join(top, 'srv'), path.join(top, 'srv/home/back'));
  mounted('srv/home', 'nfs4');
  write('srv/home/back/new ext4 defaults');
  expect(await below('srv')).toEqual(['srv/home/back/new']);
});
