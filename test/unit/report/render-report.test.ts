import { Chalk } from 'chalk';
import { describe, expect, it } from 'vitest';
import { renderReport } from '../../../src/report/render-report.js';
import type { RunReport } from '../../../src/report/run-report.js';
import { chooseSymbols } from '../../../src/report/symbols.js';
import { failedReport, successfulReport } from '../../support/run-reports.js';

const symbols = chooseSymbols({ LANG: 'C.UTF-8' });
const plain = { chalk: new Chalk({ level: 0 }), symbols };

describe('renderReport', () => {
  it('tells outcome, source, copy, consistency and a timeline with the frozen window marked', () => {
    expect(renderReport(successfulReport(), plain)).toBe(
      [
        '✔ srv: backed up',
        '  /srv (ext4 on /dev/loop0)',
        '    snapshot by reflink, freeze explicit: the image is cloned while its filesystem is frozen',
        '    frozen 45 ms (freeze 39 ms, snapshot 3.1 ms, thaw 0.2 ms); consistency filesystem',
        '  → /backup by rsync: 20260102T030405Z-1a2b3c, 1.5 MB in 12 files, 2.5 s',
        '  consistency: filesystem (at one instant, after a freeze or its equal)',
        '  timeline: start, duration, step',
        '     10 ms  200 ms  sync',
        '  ┃ 210 ms   39 ms  freeze  frozen',
        '  ┃ 250 ms  3.1 ms  snapshot  frozen',
        '  ┃ 254 ms  0.2 ms  thaw  frozen',
        '    300 ms   2.5 s  copy',
        '',
      ].join('\n'),
    );
  });

  it('says that all is at one instant only where it was, and else which are with each other', () => {
    const [source] = successfulReport().sources;
    if (source === undefined) throw new Error('no source');
    const at = (mountpoint: string, instant: number | null) => ({ ...source, mountpoint, instant });
    const of = (changes: Partial<RunReport>): string[] =>
      renderReport(successfulReport(changes), plain)
        .split('\n')
        .filter((line) => /consistency: |instant/.test(line));

    const apart = [at('/a', 1), at('/b', 2), at('/c', 1), at('/d', null)];
    for (const [consistency, meaning] of [
      ['application', 'quiesced'],
      ['filesystem', 'after a freeze or its equal'],
      ['crash', 'as after a power cut'],
    ] as const) {
      expect(of({ consistency })).toEqual([`  consistency: ${consistency} (at one instant, ${meaning})`]);
      expect(of({ consistency, oneInstant: false, sources: apart })).toEqual([
        `  consistency: ${consistency} (${meaning})`,
        '  not at one instant: /a with /c; /b; /d at no instant',
      ]);
      // Of an earlier version, which did not tell.
      expect(of({ consistency, oneInstant: null })).toEqual([`  consistency: ${consistency} (${meaning})`]);
    }
    const live = { consistency: 'none', oneInstant: false, sources: [at('/a', null)] } as const;
    expect(of({ ...live, sources: [...live.sources] })).toEqual([
      '  consistency: none (a live tree, copied while it changed)',
    ]);
  });

  it('names all mounts that one snapshot served', () => {
    const sources = successfulReport().sources.map((one) => ({ ...one, otherMountpoints: ['/bound'] }));
    expect(renderReport(successfulReport({ sources }), plain)).toContain(
      '  /srv and /bound (ext4 on /dev/loop0)\n',
    );
  });

  it('tells what else went wrong before the error that counts', () => {
    const error = {
      code: 'cleanupIncomplete',
      exitCode: 60,
      message: 'still held',
      hint: 'Recover.',
    } as const;
    const other = {
      code: 'interrupted',
      exitCode: 130,
      message: 'interrupted by INT',
      hint: 'Again.',
    } as const;
    expect(renderReport(successfulReport({ error, otherErrors: [other] }), plain)).toContain(
      '\n  ✖ interrupted by INT\n    Again.\n  Error: still held\n  Recover.\n',
    );
  });

  it('tells warnings, the error and what to do, and claims no consistency without a copy', () => {
    const text = renderReport(failedReport(), plain);
    expect(text).toMatch(/^✖ srv: failed \(exit 21\)\n/);
    expect(text).toContain('  ⚠ /srv holds a submount that is not copied: /srv/data\n');
    expect(text).toMatch(/ {2}Error: The freeze of \/srv was lost: timeout\n {2}Raise the timeout\.\n$/);
    expect(text).not.toContain('consistency: ');
  });

  it('ends with the targets that have no backup and the error, and says once what to do for each', () => {
    const error = { code: 'copyFailed', exitCode: 40, message: 'no room', hint: 'Make room.' } as const;
    const other = { ...error, message: 'no key', hint: 'Write it.' };
    const failedCopies = [
      { target: '/other', engine: 'image', error } as const,
      { target: '/third', engine: 'tar', error: other } as const,
    ];
    const report = successfulReport({ outcome: 'failed', exitCode: 40, failedCopies, error });
    const told = [
      '  ✖ /other by image: no room',
      '  ✖ /third by tar: no key',
      '    Write it.',
      '  Error: no room',
      '  Make room.',
      '',
    ].join('\n');
    expect(renderReport(report, plain).endsWith(`\n${told}`)).toBe(true);
  });

  it('does not say of a source that it was snapshotted when the run ended before', () => {
    const times = { frozenMs: null, freezeCallMs: null, snapshotMs: null, thawMs: null } as const;
    const sources = successfulReport().sources.map((one) => ({ ...one, ...times }));
    const text = renderReport(successfulReport({ sources, copies: [] }), plain);
    expect(text).toContain('    not frozen, and no snapshot taken (planned: by reflink, freeze explicit)\n');
    expect(text).not.toContain('snapshot by reflink');
  });

  it('can do without the timeline', () => {
    expect(renderReport(successfulReport(), plain, { timeline: false })).not.toMatch(/timeline|lock/);
  });

  it('tells of a source that was not frozen, and of tries', () => {
    const times = { frozenMs: null, freezeCallMs: null, snapshotMs: null, thawMs: null } as const;
    const sources = successfulReport().sources.map((one) => ({
      ...one,
      ...times,
      provider: 'none' as const,
      consistency: 'none' as const,
      attempts: 3,
    }));
    const text = renderReport(successfulReport({ sources }), plain);
    expect(text).toContain('    no snapshot, freeze explicit');
    expect(text).toContain('    not frozen, 3 attempts; consistency none\n');
  });

  it('does not let a name write to the terminal', () => {
    const text = renderReport(
      successfulReport({ warnings: ['cannot read /srv/\u001B]0;owned\u0007'] }),
      plain,
    );
    expect(text).toContain('cannot read /srv/\\x1b]0;owned\\x07');
  });

  it('is coloured with a chalk that colours, and has signs for every locale', () => {
    expect(renderReport(successfulReport(), { ...plain, chalk: new Chalk({ level: 1 }) })).toContain(
      '\u001B[32m',
    );
    const ascii = renderReport(successfulReport(), { ...plain, symbols: chooseSymbols({ LANG: 'C' }) });
    expect(ascii).toMatch(/^[\n -~]*$/);
  });
});
