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

it('shows what is frozen, in whose care and how long still, what was lost, and what is kept', () => {
  const frozen = {
    mountpoint: '/srv',
    device: '/dev/vdb',
    fstype: 'ext4',
    freezeId: null,
    since: '2026-11-23T03:00:00Z',
    timeoutSeconds: 10,
    expiresAt: new Date(5500).toISOString(),
    owner: { pid: 1, command: 'fsbackup freeze' },
    watchdogPids: [2, 3],
    guards: 'alive',
    state: 'frozen',
  } as const;
  const text = renderStatus(
    {
      frozen: [
        frozen,
        { ...frozen, expiresAt: null, guards: 'stopped' },
        { ...frozen, expiresAt: null, guards: 'dead' },
      ],
      lost: [{ ...frozen, reason: 'timeout', at: '2026-11-23T03:01:00Z' }],
      runs: [],
      bases: [
        { job: 'srv', target: 'disk', backupId: 'id', snapshots: [{ mountpoint: '/srv', name: 'vg/snap' }] },
      ],
    },
    2000,
  );
  const line = (what: string): string =>
    `  /srv (ext4 on /dev/vdb) since 2026-11-23T03:00:00Z: ${what}; by pid 1 (fsbackup freeze), watchdogs 2 and 3`;
  expect(text.split('\n')).toEqual([
    'Frozen:',
    line('thawed by itself in 3.5 s'),
    line(
      'its watchdog does not answer; the second thaws it at the deadline, unless it is stopped too, and `fsbackup thaw` does at once',
    ),
    line('ITS WATCHDOGS ARE DEAD: run "fsbackup recover"'),
    'Lost:',
    '  /srv at 2026-11-23T03:01:00Z: timeout',
    'Last runs: none',
    'Kept for increments:',
    '  vg/snap of /srv: the base of srv in disk (id)',
  ]);
});
