import { mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeFailure, runCommand, type CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');

/** The package as npm would publish it, unpacked; its dependencies are the checkout's. Needs a build. */
describeNeeding(['root', 'loop', 'ext4'], 'the npm package', () => {
  const disks = throwawayDisks(afterAll);
  let unpacked: string;

  beforeAll(async () => {
    const packs = path.join(disks.directory, 'packs');
    await mkdir(packs);
    // Without scripts: nothing is built meanwhile, and installing it would not run any either.
    const packing = await runCommand(['npm', 'pack', '--ignore-scripts', '--pack-destination', packs], {
      cwd: PROJECT,
      env: { PATH: process.env['PATH'] ?? '' },
    });
    if (packing.exitCode !== 0) throw new Error(describeFailure('npm pack', packing));
    const [tarball = ''] = await readdir(packs);
    await must('tar', '-xzf', path.join(packs, tarball), '-C', packs);
    unpacked = path.join(packs, 'package');
    await symlink(path.join(PROJECT, 'node_modules'), path.join(unpacked, 'node_modules'));
  });

  function fsbackup(...args: string[]): Promise<CommandResult> {
    return runCommand([process.execPath, path.join(unpacked, 'bin/run.js'), ...args], {
      env: {
        FSBACKUP_RUN_DIR: path.join(disks.directory, 'run'),
        FSBACKUP_STATE_DIR: path.join(disks.directory, 'state'),
      },
      timeoutMs: 60_000,
    });
  }

  it('has what was built, the manifest of commands and the documents, and no tests', async () => {
    const names = await readdir(unpacked, { recursive: true });
    const needed = [
      'bin/run.js',
      'dist/commands/freeze.cjs',
      'dist/make-code-cache.cjs',
      'oclif.manifest.json',
      'native/build/addon.node',
      'native/build/nested-freeze',
      'native/build/watchdog',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'docs/exit-codes.md',
      'systemd/fsbackup@.service',
      'systemd/fsbackup@.timer',
    ];
    expect(needed.filter((name) => !names.includes(name))).toEqual([]);
    expect(names.filter((name) => /^(?:test|src|scripts|dist\/.*\.cache$)/.test(name))).toEqual([]);
  });

  it('makes its code cache when it is installed, and in a checkout that is not built makes none', async () => {
    const { scripts } = JSON.parse(await readFile(path.join(unpacked, 'package.json'), 'utf8')) as {
      scripts: { postinstall: string };
    };
    const install = async (cwd: string): Promise<CommandResult> =>
      await runCommand(['sh', '-c', scripts.postinstall], {
        cwd,
        env: { PATH: `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}` },
        timeoutMs: 60_000,
      });
    expect(await install(unpacked)).toMatchObject({ exitCode: 0, stderr: '' });
    const caches = (await readdir(path.join(unpacked, 'dist'))).filter((name) => name.endsWith('.cache'));
    expect(caches).toEqual([expect.stringMatching(/^code-[\da-f]{16}\.js\.cache$/)]);
    expect(await install(disks.directory)).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('freezes with the addon and the watchdog that lie in it', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const frozen = await fsbackup('freeze', disk.mountpoint, '--', 'fsfreeze', '--freeze', disk.mountpoint);
    // A second FIFREEZE is refused only while the first holds.
    expect(frozen.stderr).toContain('Device or resource busy');
    expect(frozen.exitCode).toBe(1);
    expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  });
});
