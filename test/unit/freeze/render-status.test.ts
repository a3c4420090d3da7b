import { expect, it } from 'vitest';
import { renderMounts } from '../../../src/copy/mount/render-mounts.js';
import { renderStatus, type RunStatus } from '../../../src/freeze/render-status.js';

const FAILED: RunStatus = {
  job: 'srv',
  outcome: 'failed',
  exitCode: 40,
  finishedAt: '2026-11-23T03:00:00Z',
  lastWholeAt: '2026-11-20T03:00:00Z',
};

it.each([
  [
    FAILED,
    'srv: failed (exit 40) at 2026-11-23T03:00:00Z; the last that gave every target a whole backup: 2026-11-20T03:00:00Z',
  ],
  [
    { ...FAILED, lastWholeAt: null },
    'srv: failed (exit 40) at 2026-11-23T03:00:00Z; the last that gave every target a whole backup: NONE IS KNOWN',
  ],
  [
    { ...FAILED, outcome: 'success', exitCode: 0, lastWholeAt: FAILED.finishedAt },
    'srv: success (exit 0) at 2026-11-23T03:00:00Z',
  ],
])('%j is shown as "%s"', (run, line) => {
  const status = { frozen: [], lost: [], runs: [run], bases: [] };
  expect(renderStatus(status, 0).split('\n')).toContain(`  ${line}`);
});

it('does not call nothing what could not be read', () => {
  const none = { frozen: [], lost: [], runs: [], bases: [] };
  const text = renderStatus(none, 0, ['frozen', 'lost', 'bases', 'mounts']);
  expect(text.split('\n')).toEqual([
    'Frozen: NOT KNOWN, see the errors',
    'Lost: NOT KNOWN, see the errors',
    'Last runs: none',
    'Kept for increments: NOT KNOWN, see the errors',
  ]);
  expect(renderMounts([], ['mounts'])).toBe('Mounted backups: NOT KNOWN, see the errors');
  expect(renderMounts([])).toBe('');
});
