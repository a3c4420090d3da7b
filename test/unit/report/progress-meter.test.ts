import { expect, it } from 'vitest';
import { ProgressMeter } from '../../../src/report/progress-meter.js';

function meterAt(): { meter: ProgressMeter; at: (ms: number) => void } {
  let now = 5000;
  const meter = new ProgressMeter(() => now);
  return {
    meter,
    at: (ms) => {
      now = 5000 + ms;
    },
  };
}

it('tells bytes, files, rate and time left', () => {
  const { meter, at } = meterAt();
  expect(meter.line({ bytes: 0, files: 0, totalBytes: 100e6 })).toBe('0 B of 100 MB');
  at(2000);
  expect(meter.line({ bytes: 20e6, files: 1, totalBytes: 100e6, totalFiles: 9 })).toBe(
    '20 MB of 100 MB · 1 of 9 files · 10 MB/s · 8 s left',
  );
});

it('leaves out what it cannot know', () => {
  const { meter, at } = meterAt();
  meter.line({ bytes: 0, files: 0 });
  at(999);
  expect(meter.line({ bytes: 1e6, files: 1 })).toBe('1 MB · 1 file');
  at(2000);
  expect(meter.line({ bytes: 2e6, files: 2 })).toBe('2 MB · 2 files · 1 MB/s');
});

it('follows the rate of the last ten seconds', () => {
  const { meter, at } = meterAt();
  meter.line({ bytes: 0, files: 0 });
  at(10_000);
  meter.line({ bytes: 1000e6, files: 1 });
  for (const second of [15, 20, 25, 30]) {
    at(second * 1000);
    meter.line({ bytes: 1000e6, files: 1 });
  }
  expect(meter.line({ bytes: 1000e6, files: 1 })).toContain(' · 0 B/s');
});

it('starts anew when a second attempt counts from zero', () => {
  const { meter, at } = meterAt();
  meter.line({ bytes: 50e6, files: 5 });
  at(3000);
  expect(meter.line({ bytes: 1e6, files: 1 })).toBe('1 MB · 1 file');
});

it('tells minutes as minutes', () => {
  const { meter, at } = meterAt();
  meter.line({ bytes: 0, files: 0 });
  at(1000);
  expect(meter.line({ bytes: 1e6, files: 1, totalBytes: 91e6 })).toContain('1m 30s left');
});

it('tells the time left by files where nothing tells the bytes', () => {
  const { meter, at } = meterAt();
  meter.line({ bytes: 0, files: 0 });
  at(2000);
  expect(meter.line({ bytes: 1e6, files: 20, totalFiles: 100 })).toContain('8 s left');
});

it('calls files what are files, and tells of entries where those are all that is counted', () => {
  const { meter, at } = meterAt();
  const entries = { entries: 0, totalEntries: 40 };
  expect(meter.line({ bytes: 0, files: 0, ...entries })).toBe('0 B · 0 of 40 files and directories');
  at(2000);
  expect(meter.line({ bytes: 1e6, files: 3, entries: 20, totalEntries: 40 })).toBe(
    '1 MB · 20 of 40 files and directories · 500 kB/s · 2 s left',
  );
  expect(meter.line({ bytes: 1e6, files: 3, totalFiles: 30, entries: 20, totalEntries: 40 })).toContain(
    ' · 3 of 30 files · ',
  );
  expect(meter.line({ bytes: 1e6, files: 0 })).toBe('1 MB');
});

it('keeps few samples however often it is asked', () => {
  const { meter, at } = meterAt();
  for (let ms = 0; ms <= 5000; ms += 1) {
    at(ms);
    meter.take({ bytes: ms * 1000, files: 0 });
  }
  expect(meter.estimate({ bytes: 5e6, files: 0, totalBytes: 10e6 })).toEqual({
    bytesPerSecond: 1e6,
    secondsLeft: 5,
  });
});
