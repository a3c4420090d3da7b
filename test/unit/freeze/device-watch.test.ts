import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DeviceWatch, type DeviceMapper } from '../../../src/freeze/device-watch.js';
import type { GuardedDevice } from '../../../src/freeze/freezer.js';
import { createPage, isSuspended, readWatch, type PageHandle } from '../../../src/system/native.js';
import { watchOpenFiles } from '../../support/open-files.js';

const DEVICES: GuardedDevice[] = ['vg-srv', 'vg-srv-real'].map((name, index) => ({
  name,
  majorMinor: `252:${index}`,
  mountpoints: ['/srv'],
}));

let page: PageHandle;
let pageFd: number;
let watches: DeviceWatch[];

beforeEach(() => {
  ({ page, fd: pageFd } = createPage(0, 60_000, 60_000));
  watches = [];
});
afterEach(() => {
  for (const watch of watches) watch.close();
  closeSync(pageFd);
});

/** A device-mapper whose devices all run, and whose measurement does not end by itself. */
function aMapper(changes: Partial<DeviceMapper> = {}) {
  const done: string[] = [];
  return {
    done,
    control: '/dev/null',
    isSuspended: () => false,
    measureDevices: async () => {
      done.push('measure');
      await new Promise(() => undefined);
    },
    stopMeasuring: () => void done.push('stop'),
    ...changes,
  };
}

async function create(mapper: DeviceMapper): Promise<DeviceWatch> {
  const watch = await DeviceWatch.create(DEVICES, page, mapper);
  watches.push(watch);
  return watch;
}

it('puts the devices into the page, but those that are gone', async () => {
  const gone = Object.assign(new Error('gone'), { code: 'ENXIO' });
  const watch = await create(
    aMapper({
      isSuspended: (_, majorMinor) => {
        if (majorMinor === '252:0') throw gone;
        return false;
      },
    }),
  );
  expect(readWatch(page).devices).toHaveLength(1);
  expect(watch.outcomes().map(({ device }) => device.name)).toEqual(['vg-srv-real']);
});

it('waits for one that is suspended for an instant', async () => {
  let looks = 0;
  const begun = performance.now();
  await create(aMapper({ isSuspended: () => (looks += 1) < 4 }));
  expect(performance.now() - begun).toBeGreaterThan(290);
  expect(readWatch(page).devices).toHaveLength(2);
});

it('refuses one that stays suspended, and where device-mapper cannot be asked; nothing is left open', async () => {
  const allClosed = watchOpenFiles();
  await expect(create(aMapper({ isSuspended: () => true }))).rejects.toMatchObject({
    code: 'notFrozen',
    message: 'vg-srv, below /srv, is suspended already',
  });
  await expect(create(aMapper({ isSuspended }))).rejects.toMatchObject({
    code: 'notFrozen',
    message: expect.stringContaining('device-mapper cannot be asked for its devices') as string,
  });
  await expect(create(aMapper({ control: '/nowhere' }))).rejects.toMatchObject({
    code: 'notFrozen',
    message: '/nowhere cannot be opened (ENOENT), so nobody could resume vg-srv, vg-srv-real',
  });
  await allClosed();
});

it('has its deadline and its measurement begin together, and waits for the end of the one', async () => {
  let end = (): void => undefined;
  const mapper = aMapper({ measureDevices: () => new Promise((resolve) => (end = resolve)) });
  const watch = await create(mapper);
  expect(watch.deadlineMs).toBeUndefined();
  await watch.measured();
  watch.open();
  expect(watch.deadlineMs).toBeGreaterThan(0);
  mapper.done.splice(0);
  let isMeasured = false;
  const measured = watch.measured().then(() => (isMeasured = true));
  await sleep(20);
  expect(mapper.done).toEqual(['stop']);
  expect(isMeasured).toBe(false);
  end();
  await measured;
});

it('does not wait for a measurement that hangs, and stops it when it is closed', async () => {
  const allClosed = watchOpenFiles();
  const mapper = aMapper();
  const watch = await DeviceWatch.create(DEVICES, page, mapper);
  watch.open();
  await watch.measured();
  expect(mapper.done).toEqual(['measure', 'stop']);
  watch.close();
  expect(mapper.done).toEqual(['measure', 'stop', 'stop']);
  await allClosed();
});
