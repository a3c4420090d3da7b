import { describe, expect, it } from 'vitest';
import {
  parseHeldRoot,
  parseThinDelta,
  parseThinVolumes,
  poolDevice,
} from '../../../src/system/thin-pool.js';

/** Of thin_delta 1.1, shortened. */
const DELTA = `<superblock uuid="" time="2" transaction="3" data_block_size="128" nr_data_blocks="0">
  <diff left="2" right="3">
    <different begin="0" length="1"/>
    <same begin="1" length="3"/>
    <left_only begin="123" length="2"/>
    <right_only begin="256" length="81"/>
  </diff>
</superblock>`;
const BLOCK = 128 * 512;

describe('parseThinDelta', () => {
  it('gives what changed and what is gone, in bytes', () => {
    expect(parseThinDelta(DELTA)).toEqual({
      changed: [
        { offset: 0, length: BLOCK },
        { offset: 256 * BLOCK, length: 81 * BLOCK },
      ],
      dropped: [{ offset: 123 * BLOCK, length: 2 * BLOCK }],
    });
  });

  it.each([
    ['nothing', ''],
    ['an end too early', DELTA.replace('</diff>', '')],
    ['no size of blocks', DELTA.replace('data_block_size="128"', '')],
    [
      'a range without a length',
      DELTA.replace('<different begin="0" length="1"/>', '<different begin="0"/>'),
    ],
  ])('refuses %s: an increment would lack what changed', (_, output) => {
    expect(() => parseThinDelta(output)).toThrow(/thin_delta printed/);
  });
});

describe('parseHeldRoot', () => {
  const status = (held: string): string =>
    `0 1024000 thin-pool 3 114/1024 231/8000 ${held} rw discard_passdown queue_if_no_space - 256 `;

  it('tells a pool that keeps its metadata from one that does not', () => {
    expect(parseHeldRoot(status('51'))).toBe('51');
    expect(parseHeldRoot(status('-'))).toBeUndefined();
  });
});

it('reads thin volumes alone of what lvs reports', () => {
  const row = (more: object): object => ({ lv_name: 'x', lv_uuid: 'u', thin_id: '', pool_lv: '', ...more });
  const thin = { thin_id: '3', pool_lv: 'p', pool_lv_uuid: 'pu', lv_permissions: 'read-only' };
  const lv = [row({}), row(thin), row({ ...thin, lv_permissions: 'writeable' })];
  const [first, second, ...others] = parseThinVolumes(JSON.stringify({ report: [{ lv }] }));
  expect(first).toEqual({ lv: 'x', uuid: 'u', thinId: 3, pool: 'p', poolUuid: 'pu', isReadOnly: true });
  expect(second?.isReadOnly).toBe(false);
  expect(others).toEqual([]);
});

it('names the device of a pool as device-mapper does', () => {
  expect(poolDevice('my-vg', 'a-pool')).toBe('my--vg-a--pool-tpool');
});
