import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { listPids, readEnvironment, readProcessState } from '../../src/system/process-table.js';
import { must } from '../support/throwaway-filesystem.js';

/** Becomes itself again and again, and says so once. */
const RESTLESS = `
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	if (argc == 1 && write(1, "ready\\\\n", 6) != 6)
		return 1;
	execv("/proc/self/exe", (char *[]){ argv[0], "again", 0 });
	return 1;
}
`.replaceAll(String.raw`\\n`, String.raw`\n`);

describe('the environment of a process', () => {
  let directory: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'process-table-'));
    await writeFile(path.join(directory, 'restless.c'), RESTLESS);
    await must('cc', '-O1', '-o', path.join(directory, 'restless'), path.join(directory, 'restless.c'));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
  });
  afterAll(async () => {
    await rm(directory, { recursive: true });
  });

  async function start(
    program: string,
    args: readonly string[],
    env: Record<string, string>,
  ): Promise<number> {
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await once(child.stdout, 'data');
    return child.pid ?? 0;
  }

  it('is found in the middle of execve(2)', async () => {
    const pid = await start(path.join(directory, 'restless'), [], { MARK: 'mine' });
    let empty = 0;
    for (let look = 0; look < 300; look += 1) {
      if ((await readFile(`/proc/${pid}/environ`, 'utf8')) === '') empty += 1;
      expect(await readEnvironment(pid)).toEqual(['MARK=mine']);
    }
    // It was looked at there.
    expect(empty).toBeGreaterThan(0);
  });

  it('is empty where it is', async () => {
    const pid = await start('/bin/sh', ['-c', 'echo ready; exec /bin/sleep 600'], {});
    expect((await readEnvironment(pid)).filter((line) => !/^(?:PWD|OLDPWD|SHLVL|_)=/.test(line))).toEqual([]);
    // A kernel thread, and a process that is gone.
    expect(await readEnvironment(2)).toEqual([]);
    expect(await readEnvironment(4_194_304)).toEqual([]);
  });

  it('and its session are found whatever its name holds', async () => {
    const pid = await start(
      '/bin/sh',
      ['-c', 'printf ") S 1 2" >/proc/self/comm; echo ready; kill -STOP $$'],
      {
        A: 'b',
      },
    );
    expect(await listPids()).toContain(pid);
    expect(await readProcessState(pid)).toEqual({
      name: ') S 1 2',
      group: expect.any(Number) as number,
      session: expect.any(Number) as number,
    });
    expect(await readEnvironment(pid)).toContain('A=b');
  });
});
