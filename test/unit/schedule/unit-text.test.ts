import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { JOB_NAME_PATTERN } from '../../../src/config/schema.js';
import { placeProgram, quoteWord, unitName } from '../../../src/schedule/unit-text.js';

const PACKAGED = path.resolve(import.meta.dirname, '../../../systemd');

describe('the packaged units', () => {
  it('are run by the program that is filled in, and by nothing else', () => {
    const service = readFileSync(path.join(PACKAGED, 'fsbackup@.service'), 'utf8');
    const placed = placeProgram(service, ['/opt/node js/node', '/opt/50%/$x/run.js']);
    expect(placed.split('\n').filter((line) => line.startsWith('Exec'))).toEqual([
      String.raw`ExecStart="/opt/node js/node" "/opt/50%%/$$x/run.js" run --lock-wait 6h %i`,
      String.raw`ExecStopPost="/opt/node js/node" "/opt/50%%/$$x/run.js" thaw --all --orphaned`,
      String.raw`ExecStopPost=-"/opt/node js/node" "/opt/50%%/$$x/run.js" recover`,
    ]);
  });
});

describe('a word of a command line', () => {
  it('keeps what systemd would take out of it', () => {
    expect(quoteWord(String.raw`a "b" \c`)).toBe(String.raw`"a \"b\" \\c"`);
  });
});

describe('the unit of a job', () => {
  it('has the name of the job for its instance', () => {
    expect(unitName('srv-db.2', 'timer')).toBe('fsbackup@srv-db.2.timer');
  });

  // systemd.unit(5): of what `systemd-escape` changes, a unit's name may hold only `-`.
  it('needs no other escape than that of "-", whatever a job may be called', () => {
    const characters = Array.from({ length: 256 }, (_, code) => String.fromCodePoint(code));
    const allowed = characters.filter((character) => JOB_NAME_PATTERN.test(`a${character}`)).join('');
    expect(allowed.replaceAll(/[A-Za-z0-9:_.]/g, '')).toBe('-');
    expect(JOB_NAME_PATTERN.test('.a')).toBe(false);
  });
});
