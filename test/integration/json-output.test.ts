import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FrozenStatus } from '../../src/freeze/freeze-status.js';
import { journalEntrySchema, snapshotRefSchema } from '../../src/journal/entry.js';
import { describeNeeding } from '../support/capabilities.js';
import { documented, jsonPage, keysBeside } from '../support/documented-json.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const MANIFEST = path.resolve(import.meta.dirname, '../../oclif.manifest.json');

describe('the page on JSON output', () => {
  it('shows an object for each command that prints one', async () => {
    expect([...(await documented()).keys()].toSorted()).toEqual(
      [
        'backups list',
        'backups prune',
        'backups release',
        'backups show',
        'backups files',
        'backups verify',
        'doctor',
        'plan',
        'recover',
        'restore',
        'run',
        'status',
      ].toSorted(),
    );
  });

  it('names every command that has --json', async () => {
    const manifest = JSON.parse(await readFile(MANIFEST, 'utf8')) as {
      commands: Record<string, { flags: Record<string, unknown> }>;
    };
    const page = await jsonPage();
    const commands = Object.entries(manifest.commands)
      .filter(([, { flags }]) => 'json' in flags)
      .map(([id]) => id.replaceAll(':', ' '));
    expect(commands).toContain('backups release');
    const isNamed = (command: string): boolean =>
      [`\`fsbackup ${command} --json\``, `\`${command} --json\``, `\`${command}\``].some((text) =>
        page.includes(text),
      );
    expect(commands.filter((command) => !isNamed(command))).toEqual([]);
  });

  it('names every kind of snapshot and of held thing', async () => {
    const lines = (await jsonPage()).split('\n');
    const providers = snapshotRefSchema.shape.provider.options;
    const kinds = journalEntrySchema.options.map((option) => option.shape.kind.value);
    for (const [line, words] of [
      [lines.find((one) => one.startsWith('| `sources[].provider`')), providers],
      [lines.find((one) => one.startsWith('`kind` is `freeze`')), kinds],
    ] as const)
      expect(words.filter((word) => line?.includes(`\`${word}\``) !== true)).toEqual([]);
  });
});

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], 'the objects on the page', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let disk: ThrowawayFilesystem;
  let target: string;

  beforeAll(async () => {
    cli = new FsbackupCli(disks.directory);
    const storage = await disks.filesystem({ fstype: 'xfs' });
    disk = await disks.filesystem({ fstype: 'ext4', on: storage });
    await writeFile(path.join(disk.mountpoint, 'file'), 'text');
    target = path.join(disks.directory, 'backups');
    await mkdir(target);
  });

  /** The keys that a command prints and those that the page has for it. */
  async function keysFor(command: string, args: readonly string[]): Promise<Record<string, string[]>> {
    const { stdout } = await cli.run(...command.split(' '), ...args, '--json');
    return await keysBeside(command, stdout);
  }

  it('have the keys that are printed', async () => {
    const job = ['--job', 'srv', '--source', disk.mountpoint, '--to', target];
    const restored = path.join(disks.directory, 'restored');
    const commands: [string, string[]][] = [
      ['plan', job],
      ['run', job],
      ['backups verify', ['srv', '--full', '--from', target]],
      ['backups list', ['--from', target]],
      ['backups show', ['srv', '--from', target]],
      ['backups files', ['srv', '--from', target]],
      ['backups prune', ['srv', '--from', target, '--keep-last', '1']],
      ['restore', ['srv', '--from', target, '--to', restored]],
      ['recover', []],
      ['doctor', [disk.mountpoint]],
    ];
    for (const [command, args] of commands) {
      const { printed, page } = await keysFor(command, args);
      expect(printed, command).toEqual(page);
    }
  });

  it('have those of status too, while something is frozen', async () => {
    await cli.run('freeze', '--timeout', '60', disk.mountpoint);
    const { stdout } = await cli.run('status', '--json');
    await cli.run('thaw', disk.mountpoint);
    const { printed, page } = await keysBeside('status', stdout);
    expect(printed).toContain('.frozen[].state');
    expect(printed).toEqual(page);
    for (const value of [JSON.parse(stdout), (await documented()).get('status')]) {
      const [{ mountpoint, timeoutSeconds, owner }] = (value as { frozen: [FrozenStatus] }).frozen;
      expect(owner.command).toBe(`freeze --timeout ${timeoutSeconds} ${mountpoint}`);
    }
  });
});
