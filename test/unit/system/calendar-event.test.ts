import { describe, expect, it } from 'vitest';
import { examineCalendar, readCalendarAnswer } from '../../../src/system/calendar-event.js';
import type { CommandResult } from '../../../src/system/run-command.js';
import { describeNeeding } from '../../support/capabilities.js';

const ended = (changes: Partial<CommandResult>): CommandResult => ({
  exitCode: 1,
  signal: undefined,
  notFound: false,
  timedOut: false,
  aborted: false,
  stdout: '',
  stderr: '',
  ...changes,
});

describe('what systemd-analyze says of a calendar event', () => {
  it.each([
    ['not installed', { exitCode: undefined, notFound: true }, 'systemd-analyze is not installed'],
    [
      'too old to have the verb',
      { stderr: "Unknown operation 'calendar'.\n" },
      "systemd-analyze ended with exit code 1: Unknown operation 'calendar'.",
    ],
    [
      'broken',
      { exitCode: 127, stderr: 'error while loading shared libraries\n' },
      'systemd-analyze ended with exit code 127: error while loading shared libraries',
    ],
    ['killed', { exitCode: undefined, signal: 'SIGKILL' }, 'systemd-analyze was ended by SIGKILL'],
  ])('is no word on it when the program is %s', (_, changes, why) => {
    expect(readCalendarAnswer(ended(changes))).toEqual({ kind: 'unasked', why });
  });
});

describeNeeding(['program:systemd-analyze'], 'systemd-analyze of this host', () => {
  it.each([
    ['daily', { kind: 'known', comesAgain: true }],
    ['Mon..Fri *-*-* 22:00 Europe/Berlin', { kind: 'known', comesAgain: true }],
    ['2020-01-01', { kind: 'known', comesAgain: false }],
    ['*-02-30', { kind: 'known', comesAgain: false }],
    ['dayly', { kind: 'refused' }],
    ['*-*-* 25:00', { kind: 'refused' }],
  ] as const)('answers of %s', async (calendar, answer) => {
    expect(await examineCalendar(calendar)).toEqual(answer);
  });
});
