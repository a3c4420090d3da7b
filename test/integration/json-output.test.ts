import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const PAGE = path.resolve(import.meta.dirname, '../../docs/json-output.md');

/** The JSON blocks of the page, by the command in their heading. */
async function documented(): Promise<Map<string, unknown>> {
  const sections = (await readFile(PAGE, 'utf8')).split(/^## /m);
  const found = new Map<string, unknown>();
  for (const section of sections) {
    const command = /^`fsbackup ([a-z ]+?) --json`/.exec(section)?.[1];
    const block = /^```json\n([^]*?)^```/m.exec(section)?.[1];
    if (command !== undefined && block !== undefined) found.set(command, JSON.parse(block));
  }
  return found;
}

/** The paths of all keys, of every element of an array as one: `sources[].device`. */
function keysOf(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((element) => keysOf(element, `${at}[]`)))];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [`${at}.${key}`, ...keysOf(inner, `${at}.${key}`)]);
}

/** Keys below what was printed empty, or is documented as somebody else's object, cannot be told apart. */
function comparable(keys: readonly string[], other: readonly string[]): string[] {
  return keys.filter((key) => {
    const parent = key.slice(0, key.lastIndexOf('.'));
    return parent === '' || other.some((one) => one.startsWith(`${parent}.`));
  });
}

describe('the page on JSON output', () => {
  it('shows an object for each command that prints one', async () => {
    expect([...(await documented()).keys()].toSorted()).toEqual(
      [
        'backups list',
        'backups prune',
        'backups show',
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
    const printed = keysOf(JSON.parse(stdout));
    const page = keysOf((await documented()).get(command));
    return {
      printed: comparable(printed, page).toSorted(),
      page: comparable(page, printed).toSorted(),
    };
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
    const { printed, page } = await keysFor('status', []);
    await cli.run('thaw', disk.mountpoint);
    expect(printed).toContain('.frozen[].state');
    expect(printed).toEqual(page);
  });
});
