import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { RetryWatch } from '../../../src/copy/restic/retry-watch.js';

const FOREVER_MS = 600_000;

/** As restic says it. */
function retrying(why: string): string {
  return `Save(<data/0a1b2c>) returned error, retrying after 552.330144ms: write /backup/tmp-1: ${why}`;
}

describe('the watch over a program that tries again and again', () => {
  it.each([
    'no space left on device',
    'read-only file system',
    'input/output error',
    'structure needs cleaning',
  ])('ends it at once for %s, which does not get better, and does not call that a lost connection', (why) => {
    const watch = new RetryWatch(FOREVER_MS);
    watch.said(why);
    expect(watch.signal.aborted).toBe(false);
    watch.said(retrying(why));
    expect([watch.signal.aborted, watch.gaveUp]).toEqual([true, false]);
    watch.end();
  });

  it('gives a lost connection its time, and anew once something has been done', async () => {
    const watch = new RetryWatch(20);
    watch.said(retrying('connection refused'));
    watch.did(1);
    await sleep(60);
    expect(watch.signal.aborted).toBe(false);
    watch.said(retrying('connection refused'));
    watch.did(1);
    while (!watch.signal.aborted) await sleep(5);
    expect(watch.gaveUp).toBe(true);
  });
});
