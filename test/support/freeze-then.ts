import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import { openMount } from '../../src/freeze/mountpoint.js';

// A program that holds a freeze through the freezer alone, without the syncfs that comes before it elsewhere:
// `freeze-then.ts MOUNTPOINT TIMEOUT_MS (write|wait|hand-over)`. It tells on stdout what happens, a line each:
// `armed`, `frozen`, `written`, `lost REASON`, `thawed REASON|held`. `write` writes to the frozen filesystem from the
// main thread, which blocks the event loop and with it the heartbeat; `hand-over` leaves it to the watchdogs.

const [, , mountpoint = '', timeout = '', what = ''] = process.argv;
const say = (line: string): void => writeFileSync(1, `${line}\n`);

const { mount } = await openMount(mountpoint);
const target = {
  mountpoint: mount.mountpoint,
  majorMinor: mount.majorMinor,
  device: mount.source,
  fstype: mount.fstype,
};
const freezer = await armFreezer(
  { targets: [target], devices: [] },
  {
    timeoutMs: Number(timeout),
    maxHoldMs: 60_000,
    ...(what === 'hand-over' ? { freezeId: 'abcd1234' } : {}),
  },
);
freezer.lost.addEventListener('abort', () => say(`lost ${String(freezer.lost.reason)}`));
const interrupted = new Promise<void>((resolve) => {
  process.once('SIGINT', () => resolve());
});
say('armed');
const freezing = freezer.freeze().then(() => say('frozen'));
if (what === 'write') {
  await freezing;
  writeFileSync(`${mountpoint}/deadlock`, 'x');
  say('written');
  // The next reset is what tells; the heartbeat asks for it.
  await sleep(Number(timeout));
} else if (what === 'hand-over') {
  await freezing;
  await freezer.detach();
  process.exit(0);
} else {
  await Promise.race([interrupted, freezing.then(() => sleep(60_000, undefined, { ref: false }))]);
}
const { filesystems } = await freezer.thaw();
say(`thawed ${filesystems.map((outcome) => outcome.lost ?? 'held').join(' ')}`);
await freezing.catch(() => undefined);
await freezer.close();
process.exitCode = what === 'write' ? 0 : 130;
