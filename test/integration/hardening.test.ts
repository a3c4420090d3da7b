import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BUILT = path.join(ROOT, 'native/build');
const PROGRAMS = ['watchdog', 'nested-freeze'];
const ALL = [...PROGRAMS, 'addon.node'];
const MARK = 'FORTIFY_LEVEL_IS';

async function readelf(option: string, name: string): Promise<string> {
  const { stdout, exitCode, stderr } = await runCommand([
    'readelf',
    '-W',
    ...option.split(' '),
    path.join(BUILT, name),
  ]);
  expect(exitCode, stderr).toBe(0);
  return stdout;
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'hardening-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** scripts/build-native of a copy of the sources, with another compiler if need be. */
async function buildCopy(
  name: string,
  args: readonly string[],
  prepare: (native: string) => Promise<void>,
): Promise<CommandResult> {
  const copy = path.join(directory, name);
  mkdirSync(path.join(copy, 'scripts'), { recursive: true });
  cpSync(path.join(ROOT, 'scripts/build-native'), path.join(copy, 'scripts/build-native'));
  cpSync(path.join(ROOT, 'native'), path.join(copy, 'native'), {
    recursive: true,
    filter: (file) => path.basename(file) !== 'build',
  });
  await prepare(path.join(copy, 'native'));
  return await runCommand([path.join(copy, 'scripts/build-native'), ...args], {
    env: {
      NODE_PATH: path.join(ROOT, 'node_modules'),
      PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin`,
      CC: path.join(directory, 'cc'),
    },
    timeoutMs: 100_000,
  });
}

describe('what is built of native/', () => {
  it.each(ALL)('%s: may lie anywhere, has no writable jump table, no code in data', async (name) => {
    const [header, segments, dynamic] = await Promise.all([
      readelf('-h', name),
      readelf('-l', name),
      readelf('-d', name),
    ]);
    expect(header).toMatch(/Type:\s+DYN/);
    expect(segments).toMatch(/^\s+GNU_RELRO\s/m);
    expect(segments).toMatch(/^\s+GNU_STACK\s.* RW\s/m);
    expect(segments).not.toMatch(/^\s+LOAD\s.* RWE\s/m);
    expect(dynamic).toMatch(/BIND_NOW|Flags:.*\bNOW\b/);
    expect(dynamic).not.toContain('TEXTREL');
  });

  it.each(PROGRAMS)('%s: a program that may lie anywhere, and needs no loader', async (name) => {
    const [segments, dynamic] = await Promise.all([readelf('-l', name), readelf('-d', name)]);
    expect(dynamic).toMatch(/Flags:.*\bPIE\b/);
    expect(segments).not.toContain('INTERP');
    expect(dynamic).not.toContain('NEEDED');
  });

  it.each(ALL)('%s: guards its stack', async (name) => {
    const told = await readelf('-p .GCC.command.line', name);
    const flags = told.split('\n').filter((line) => line.includes('GNU C17'));
    expect(flags).not.toEqual([]);
    for (const flag of ['-fstack-protector-strong', '-fstack-clash-protection', '-O2']) {
      for (const line of flags) expect(line).toContain(` ${flag} `);
    }
  });

  it('addon.node: checks the bounds of what the C library writes', async () => {
    const imports = await readelf('--dyn-syms', 'addon.node');
    expect(imports).toMatch(/UND __snprintf_chk/);
    expect(imports).toMatch(/UND __stack_chk_fail/);
  });

  it('all of it: at the level of fortification that the C library has most of', async () => {
    // The compiler's first pass alone, with all that it is told: what the C library's headers make of that.
    writeFileSync(
      path.join(directory, 'cc'),
      `#!/bin/sh
case $* in -dumpmachine) exec cc -dumpmachine ;; esac
out=; flags=
for one in "$@"; do
  case $last in -o) out=$one ;; esac
  case $one in *.c | -o) ;; *) [ "$last" = -o ] || flags="$flags $one" ;; esac
  last=$one
done
cc "$@" || exit
printf '#include <features.h>\\n${MARK} __USE_FORTIFY_LEVEL\\n' >"$out.c"
cc $flags -E -P "$out.c" | grep '^${MARK}' >>"${directory}/levels"
`,
    );
    chmodSync(path.join(directory, 'cc'), 0o755);
    const { exitCode, stderr } = await buildCopy(
      'fortified',
      ['--into', path.join(directory, 'out')],
      async () => {},
    );
    expect(exitCode, stderr).toBe(0);
    const levels = readFileSync(path.join(directory, 'levels'), 'utf8').trimEnd().split('\n');
    expect(levels).toEqual(levels.map(() => `${MARK} 3`));
    expect(levels.length).toBeGreaterThanOrEqual(ALL.length);
  });
});

describe('cc -fanalyzer', () => {
  beforeAll(() => {
    writeFileSync(path.join(directory, 'cc'), '#!/bin/sh\nexec cc "$@"\n', { mode: 0o755 });
  });

  it('finds nothing in native/', async () => {
    const { exitCode, stderr } = await runCommand([path.join(ROOT, 'scripts/build-native'), '--analyze'], {
      env: { PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin` },
      timeoutMs: 100_000,
    });
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
  });

  it('would find a fault', async () => {
    const fault =
      '#include <stdlib.h>\nvoid fault(void);\nvoid fault(void) {\n  char *p = malloc(1);\n  free(p);\n  free(p);\n}\n';
    const { exitCode, stderr } = await buildCopy('faulty', ['--analyze'], (native) =>
      appendFile(path.join(native, 'addon-devices.c'), fault),
    );
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/Werror=analyzer-double-free|Wanalyzer-double-free/);
  });
});
