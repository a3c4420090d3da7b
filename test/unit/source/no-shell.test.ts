import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../../..');

/** Files of a directory by their path from the checkout, with comments left out: those may speak of shells. */
function sources(directory: string, extension: RegExp): Map<string, string> {
  const names = readdirSync(path.join(ROOT, directory), { recursive: true, encoding: 'utf8' });
  return new Map(
    names
      .filter((name) => extension.test(name))
      .map((name) => {
        const file = path.join(directory, name);
        const text = readFileSync(path.join(ROOT, file), 'utf8');
        return [file, text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')];
      }),
  );
}

function filesWith(files: ReadonlyMap<string, string>, pattern: RegExp): string[] {
  return [...files].filter(([, text]) => pattern.test(text)).map(([file]) => file);
}

const TYPESCRIPT = new Map([...sources('src', /\.ts$/), ...sources('bin', /\.[jt]s$/)]);
const C = sources('native', /\.[ch]$/);

/** Starts the scripts that mount, in a namespace, and has what they begin with. */
const OWN_MOUNTS = 'src/system/own-mounts.ts';
/**
 * They mount in a namespace that ends with the program, and then become it: a fixed script, whose arguments are its own
 * positional ones and never part of its text. How each is started.
 */
const SCRIPTS: [string, RegExp][] = [
  ['src/copy/command/command-engine.ts', /'-e?c',\s*SCRIPT,/],
  ['src/copy/repository/merged-tree.ts', /inOwnMounts\(SCRIPT, /],
  ['src/copy/filesystem/mounted-trees.ts', /inOwnMounts\(SCRIPT, /],
  ['src/system/sealed-view.ts', /inOwnMounts\(SCRIPT, /],
];

/** Unquoted, an argument would be split and expanded, but in an assignment. */
function expectFixed(script: string | undefined): void {
  expect(script).not.toContain('${');
  expect(script?.replaceAll(/"[^"]*"|\b\w+=\$\d/g, '')).not.toMatch(/\$[\w@*{(]|\beval\b|`/);
}

/** Scripts that a login's shell on another host is given, in the same way: every word of what it runs is quoted. */
const REMOTE_SCRIPTS = 'src/copy/rsync-remote/rsync-remote-scripts.ts';
const REMOTE_SHELL = 'src/copy/rsync-remote/rsync-remote-store.ts';

describe('the sources', () => {
  it('start programs in three files, none of them by way of a shell', () => {
    expect(
      filesWith(
        TYPESCRIPT,
        /from 'node:child_process'|from 'child_process'|require\('(?:node:)?child_process/,
      ).toSorted(),
    ).toEqual(['src/freeze/held-command.ts', 'src/freeze/watchdog-process.ts']);
    expect(filesWith(TYPESCRIPT, /from 'execa'/)).toEqual(['src/system/run-command.ts']);
    expect(
      filesWith(
        TYPESCRIPT,
        /\bshell\s*:|(?<!\.)\bexec(?:File)?(?:Sync)?\(['"`]|\bspawnSync\b|\bexecaCommand\b|\bexeca`/,
      ),
    ).toEqual([]);
    expect(TYPESCRIPT.get('src/system/run-command.ts')).toMatch(/import \{ execa \} from 'execa'/);
  });

  it('evaluate no text as a program, but their own, which lies beside what loads it', () => {
    expect(filesWith(TYPESCRIPT, /\beval\(|new Function\(|from 'node:vm'|runInNewContext/)).toEqual([
      'src/boot/code-file.ts',
    ]);
    expect(filesWith(TYPESCRIPT, /\b(?:load|make)Code(?:Cache)?\(/).toSorted()).toEqual([
      'src/boot/code-file.ts',
      'src/boot/code.ts',
      'src/boot/make-code-cache.ts',
    ]);
    for (const file of ['src/boot/code.ts', 'src/boot/make-code-cache.ts'])
      expect(TYPESCRIPT.get(file)).toContain('(path.join(import.meta.dirname, CODE_FILE))');
  });

  it('name a shell only for fixed scripts: those that mount in a namespace, and those of the other host', () => {
    const shell = /['"`](?:\/(?:usr\/)?bin\/)?(?:ba|da|z|k)?sh['"`]|['"`](?:\/usr)?\/bin\/env['"`]/;
    expect(filesWith(TYPESCRIPT, shell).toSorted()).toEqual(
      ['src/copy/command/command-engine.ts', OWN_MOUNTS, REMOTE_SHELL].toSorted(),
    );
  });

  it.each(SCRIPTS)('%s: puts nothing into its script', (file, started) => {
    const text = TYPESCRIPT.get(file) ?? '';
    const script = /const SCRIPT = `([^`]*)`/.exec(text)?.[1];
    expect(script).toContain('exec "$@"');
    expectFixed(script?.replace(/^\$\{LET_GO\}/, ''));
    expect(text).toMatch(started);
  });

  it(`${OWN_MOUNTS}: puts nothing into what scripts begin with, and starts them as they are`, () => {
    const text = TYPESCRIPT.get(OWN_MOUNTS) ?? '';
    const begin = /const LET_GO = `([^`]*)`/.exec(text)?.[1];
    expect(begin).toContain('let_go()');
    expectFixed(begin);
    expect(text).toMatch(/'sh',\s*'-ec',\s*script,/);
  });

  it(`${REMOTE_SCRIPTS}: puts nothing into its scripts but what they begin with`, () => {
    const text = TYPESCRIPT.get(REMOTE_SCRIPTS) ?? '';
    const scripts = [...text.matchAll(/^(?:export )?const [A-Z_]+ = `([^`]*)`/gm)].map(
      ([, script = '']) => script,
    );
    expect(scripts.length).toBeGreaterThan(12);
    for (const script of scripts) {
      expect(script.replace(/^\$\{(?:PROLOGUE|RECEIVING)\}/, '')).not.toContain('${');
      expect(script).not.toMatch(/\beval\b/);
    }
    const shell = TYPESCRIPT.get(REMOTE_SHELL) ?? '';
    expect([...shell.matchAll(/'sh',\s*'-c',\s*(\w+)/g)].map(([, what]) => what)).toEqual(['script']);
  });

  it('of C start one program, by its arguments', () => {
    const starts = [...C].flatMap(([file, text]) =>
      [
        ...text.matchAll(/\b(?:system|popen|exec[lv]p?e?|execveat|posix_spawnp?|wordexp)\s*\(\s*([^,)]*)/g),
      ].map(([, what]) => `${file}: ${what}`),
    );
    expect(starts).toEqual(['native/private-disk.c: "mkfs.ext4"']);
  });
});
