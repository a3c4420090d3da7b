import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CLI = path.resolve(import.meta.dirname, '../../bin/run.js');

/** Notes which program it was loaded into. */
const NOTING = `#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void note(void) {
  char name[256] = "";
  int comm = open("/proc/self/comm", O_RDONLY);
  ssize_t length = read(comm, name, sizeof name);
  int out = open(LOADED, O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (length > 0) (void)!write(out, name, (size_t)length);
  close(comm);
  close(out);
}
`;

describeNeeding(
  ['root', 'loop', 'xfs', 'ext4'],
  'the environment of the programs that fsbackup starts',
  () => {
    const disks = throwawayDisks(afterAll);
    let source: ThrowawayFilesystem;
    let trap: string;
    let library: string;

    beforeAll(async () => {
      source = await disks.filesystem({ fstype: 'ext4', on: await disks.filesystem({ fstype: 'xfs' }) });
      trap = path.join(disks.directory, 'trap');
      library = path.join(trap, 'noting.so');
      mkdirSync(trap);
      writeFileSync(path.join(trap, 'noting.c'), NOTING);
      await must(
        'cc',
        '-shared',
        '-fPIC',
        `-DLOADED="${trap}/loaded"`,
        '-o',
        library,
        path.join(trap, 'noting.c'),
      );
      // Whoever looks programs up where the caller does finds these first.
      for (const name of [
        'rsync',
        'mount',
        'umount',
        'losetup',
        'blkid',
        'sync',
        'ls',
        'stat',
        'sh',
        'env',
        'unshare',
      ]) {
        writeFileSync(path.join(trap, name), `#!/bin/sh\necho ${name} >>${trap}/trapped\nexit 1\n`);
        chmodSync(path.join(trap, name), 0o755);
      }
      writeFileSync(path.join(trap, 'loaded'), '');
      writeFileSync(path.join(trap, 'trapped'), '');
      writeFileSync(
        path.join(trap, 'noting.cjs'),
        `require('fs').appendFileSync('${trap}/trapped', 'node\\n')`,
      );
    });

    function fsbackup(extra: Record<string, string>, ...args: string[]): Promise<CommandResult> {
      return runCommand([process.execPath, CLI, ...args], {
        env: {
          FSBACKUP_RUN_DIR: path.join(disks.directory, 'run'),
          FSBACKUP_STATE_DIR: path.join(disks.directory, 'state'),
          ...extra,
        },
        cwd: '/',
        timeoutMs: 100_000,
      });
    }

    function lines(name: string): string[] {
      return readFileSync(path.join(trap, name), 'utf8')
        .split('\n')
        .filter((line) => line !== '');
    }

    it("has nothing of the caller's: no LD_PRELOAD, NODE_OPTIONS or PATH", async () => {
      const seen = path.join(trap, 'seen');
      const config = path.join(disks.directory, 'config.yaml');
      const backups = path.join(disks.directory, 'backups');
      mkdirSync(backups);
      writeFileSync(
        config,
        `version: 1
jobs:
  srv:
    sources: [${source.mountpoint}]
    targets: [{path: ${backups}, engine: rsync}]
    quiesce:
      - {name: look, before: [/bin/sh, -c, 'cat /proc/self/environ >${seen}'], after: [/bin/true]}
`,
        { mode: 0o600 },
      );
      const { exitCode, stdout, stderr } = await fsbackup(
        {
          LD_PRELOAD: library,
          LD_LIBRARY_PATH: trap,
          NODE_OPTIONS: `--require ${trap}/noting.cjs`,
          PATH: `${trap}:/usr/sbin:/usr/bin:/sbin:/bin`,
          BASH_ENV: '/nowhere',
          ENV: '/nowhere',
          RSYNC_RSH: '/nowhere',
          LANG: 'de_DE.UTF-8',
          SECRET_OF_THE_CALLER: 'x',
        },
        'run',
        '--config',
        config,
      );
      expect(exitCode, stdout + stderr).toBe(0);
      const names = readFileSync(seen, 'utf8')
        .split('\0')
        .filter((line) => line !== '')
        .map((line) => line.replace(/=.*/s, ''))
        .filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name));
      expect(new Set(names)).toEqual(
        new Set(['FSBACKUP_OWNER', 'FSBACKUP_QUIESCE', 'HOME', 'LC_ALL', 'PATH']),
      );
      // fsbackup itself, which the caller started so, and nobody else.
      expect(lines('trapped')).toEqual(['node']);
      expect(new Set(lines('loaded'))).toEqual(new Set(['node']));
      expect(lines('loaded')).toHaveLength(1);
    });

    it('is none at all for the watchdogs', async () => {
      const frozen = await fsbackup(
        { SECRET_OF_THE_CALLER: 'x' },
        'freeze',
        '--timeout',
        '60',
        source.mountpoint,
      );
      expect(frozen.exitCode, frozen.stderr).toBe(0);
      const status = JSON.parse((await fsbackup({}, 'status', '--json')).stdout) as {
        frozen: { watchdogPids: number[] }[];
      };
      const pids = status.frozen.flatMap(({ watchdogPids }) => watchdogPids);
      const environments = pids.map((pid) => readFileSync(`/proc/${pid}/environ`, 'utf8'));
      expect(await fsbackup({}, 'thaw', '--all')).toMatchObject({ exitCode: 0 });
      expect(environments).toEqual(['', '']);
    });

    it('has what was asked for', async () => {
      const { stdout } = await runCommand(['env'], { env: { ASKED_FOR: 'yes', LC_ALL: 'C.UTF-8' } });
      expect(stdout.trimEnd().split('\n').toSorted()).toEqual([
        'ASKED_FOR=yes',
        expect.stringMatching(/^FSBACKUP_OWNER=\d+-\d+$/),
        'HOME=/root',
        'LC_ALL=C.UTF-8',
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      ]);
    });
  },
);
