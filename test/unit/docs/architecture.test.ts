import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

/** Of docs/architecture.md: a module runs code of those before it and of none after it. */
const LAYERS = [
  'system',
  'report',
  'config',
  'journal',
  'freeze',
  'snapshots',
  'copy',
  'retention',
  'quiesce',
  'plan',
  'run',
  'schedule',
  'doctor',
  'completion',
  'commands',
  'boot',
];

interface Import {
  from: string;
  /** A file of the project, or a package. */
  to: string;
  typesOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(PROJECT, file), 'utf8');
  const target = (name: string): string =>
    name.startsWith('.') ? path.join(path.dirname(file), name).replace(/\.js$/, '.ts') : name;
  const fixed = [...text.matchAll(/^(?:import|export)\s+(type\s)?([^;]*?)\s*from '([^']+)'/gm)].map(
    ([, type, names = '', name = '']) => ({
      from: file,
      to: target(name),
      typesOnly: type !== undefined || /^\{(?:\s*type\s[^,}]*,?)+\s*\}$/.test(names),
    }),
  );
  const late = [...text.matchAll(/import\('([^']+)'\)/g)].map(([, name = '']) => ({
    from: file,
    to: target(name),
    typesOnly: false,
  }));
  return [...fixed, ...late];
}

const FILES = readdirSync(path.join(PROJECT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => path.join('src', name));
const IMPORTS = FILES.flatMap(importsOf);

/** Undefined for the files directly in src/, which belong to no module, and for packages. */
function moduleOf(file: string): string | undefined {
  const [top, name, ...rest] = file.split('/');
  return top === 'src' && rest.length > 0 ? name : undefined;
}

function usersOf(matches: (name: string) => boolean): string[] {
  return [...new Set(IMPORTS.filter(({ to }) => matches(to)).map(({ from }) => from))].toSorted();
}

/** A way from a file back to itself; undefined where there is none. */
function findCycle(): string[] | undefined {
  const finished = new Set<string>();
  const visit = (file: string, way: readonly string[]): string[] | undefined => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (finished.has(file)) return undefined;
    for (const { to } of IMPORTS.filter(({ from }) => from === file)) {
      const cycle = visit(to, [...way, file]);
      if (cycle !== undefined) return cycle;
    }
    finished.add(file);
    return undefined;
  };
  for (const file of FILES) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

describe('the modules', () => {
  it('are all in the order of the layers', () => {
    const modules = new Set(FILES.map(moduleOf).filter((name) => name !== undefined));
    // oclif's hooks are entries beside the commands.
    modules.delete('hooks');
    expect([...modules].toSorted()).toEqual(LAYERS.toSorted());
  });

  it('run only code of the layers below', () => {
    const upwards = IMPORTS.filter(({ from, to, typesOnly }) => {
      const [user, used] = [moduleOf(from), moduleOf(to)];
      if (typesOnly || user === undefined || used === undefined || user === 'hooks') return false;
      return LAYERS.indexOf(used) > LAYERS.indexOf(user);
    });
    expect(upwards.map(({ from, to }) => `${from} uses ${to}`)).toEqual([]);
  });

  it('have told of each directory of the copies', () => {
    const text = readFileSync(path.join(PROJECT, 'docs/architecture.md'), 'utf8');
    const told = text.slice(
      text.indexOf('`src/copy/` has a directory'),
      text.indexOf('Programs are started'),
    );
    const directories = FILES.map((file) => /^src\/copy\/([^/]+)\//.exec(file)?.[1]);
    for (const directory of new Set(directories.filter((name) => name !== undefined)))
      expect(told).toContain(`\`${directory}\``);
  });

  it('have no file that needs itself, types included', () => {
    expect(findCycle()).toBeUndefined();
  });

  it('start programs in one place, and the watchdog and a held command in theirs', () => {
    expect(usersOf((name) => name === 'execa')).toEqual(['src/system/run-command.ts']);
    expect(usersOf((name) => name === 'node:child_process')).toEqual([
      'src/freeze/held-command.ts',
      'src/freeze/watchdog-process.ts',
    ]);
  });

  it('keep the plan pure: no files, no programs, no addon', () => {
    const effects = IMPORTS.filter(
      ({ from, to, typesOnly }) =>
        moduleOf(from) === 'plan' &&
        !typesOnly &&
        (/^node:(?!path$)/.test(to) || /^src\/system\/(?:run-command|native)\.ts$/.test(to)),
    );
    expect(effects).toEqual([]);
  });
});
