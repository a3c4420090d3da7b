import { describe, expect, it } from 'vitest';
import { BorgLosses } from '../../../src/copy/borg/borg-losses.js';
import { parseBorgMessage } from '../../../src/copy/borg/borg-output.js';
import type { CopySource } from '../../../src/copy/engine.js';

const SOURCES: CopySource[] = ['/srv', '/var/db'].map((path) => ({ path, readFrom: path, exclude: [] }));

function warning(message: string): string {
  return JSON.stringify({
    type: 'log_message',
    time: 1764000000.5,
    message,
    levelname: 'WARNING',
    name: 'borg.archiver',
  });
}

function status(letter: string, path: string): string {
  return JSON.stringify({ type: 'file_status', status: letter, path });
}

/** What borg lost that said this and ended with a code. */
function lostOf(exitCode: number, ...lines: string[]): string[] {
  const losses = new BorgLosses();
  for (const line of lines) {
    const said = parseBorgMessage(line);
    if (said !== undefined) losses.heard(said);
  }
  return losses.pathsOf(exitCode, SOURCES);
}

describe('what an archive of borg lacks', () => {
  it('is told of a file whose attributes could not be read', () => {
    const said = "srv/x: extended stat (xattrs): [Errno 117] Structure needs cleaning: 'srv/x'";
    expect(lostOf(1, status('A', 'srv/a'), warning(said), status('E', 'srv/x'))).toEqual(['/srv/x']);
  });

  it('is told of a file that borg skipped for no errno', () => {
    const said = 'srv/x: file inode changed (race condition), skipping file';
    expect(lostOf(1, warning(said), status('E', 'srv/x'))).toEqual(['/srv/x']);
  });

  it('is told of a file by its status alone, whatever was said of it', () => {
    expect(lostOf(1, warning('srv/x: quite new words'), status('E', 'srv/x'))).toEqual(['/srv/x']);
    expect(lostOf(1, status('E', 'srv/y'))).toEqual(['/srv/y']);
  });

  it('is named once, by all bytes of its name', () => {
    const said = "srv/\\udcff: open: [Errno 5] Input/output error: 'x'";
    const lines = [warning('x').replace('"x"', `"${said}"`), status('E', 'srv/?')];
    expect(lostOf(1, ...lines)).toEqual([String.raw`/srv/\377`]);
    expect(lostOf(1, ...lines, status('E', 'srv/z'))).toEqual([String.raw`/srv/\377`, '/srv/z']);
  });

  it('is all of it when the root could not be opened', () => {
    expect(lostOf(1, warning(".: open_root: [Errno 5] Input/output error: '.'"))).toEqual(['/']);
  });

  it('is anything of the sources when borg warns and says nothing that is known', () => {
    expect(lostOf(1, warning('what it never said before'))).toEqual([
      '/srv/(some files: what it never said before)',
      '/var/db/(some files: what it never said before)',
    ]);
    expect(lostOf(1)).toEqual([
      '/srv/(some files: borg does not say which)',
      '/var/db/(some files: borg does not say which)',
    ]);
  });

  it('is that too when something else was told in words that are known', () => {
    const known = [warning('srv/x: open: [Errno 5] Input/output error: x'), status('E', 'srv/x')];
    const unknown = warning('what it never said before');
    const told = ['/srv/x', ...SOURCES.map(({ path }) => `${path}/(some files: what it never said before)`)];
    expect(lostOf(1, ...known, unknown)).toEqual(told);
    expect(lostOf(1, unknown, status('A', 'srv/a'), ...known)).toEqual(told);
  });

  it('is a file without an attribute that could not be read, though borg ends well', () => {
    const said = "when getting extended attribute user.a: [Errno 5] Input/output error: '<FD 6>'";
    expect(
      lostOf(0, status('A', 'srv/a'), warning(said), status('A', 'srv/x'), status('A', 'srv/z')),
    ).toEqual(['/srv/x']);
  });

  it('is nothing when it ends well, whatever it warns of, or when a file only changed meanwhile', () => {
    expect(lostOf(0, warning('a newer borg is there'), status('A', 'srv/a'))).toEqual([]);
    const changed = 'srv/log: file changed while we backed it up';
    expect(lostOf(1, warning(changed), status('C', 'srv/log'))).toEqual([]);
  });
});
