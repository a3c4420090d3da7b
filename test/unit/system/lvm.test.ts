import { describe, expect, it } from 'vitest';
import type { BlockStack } from '../../../src/system/block-stack.js';
import { findLogicalVolume, liesOnLvm, locateLogicalVolume, parseLvs } from '../../../src/system/lvm.js';

/** A row as lvs 2.03.16 prints it: all values are strings. */
function row(overrides: Record<string, string> = {}): Record<string, string> {
  return {
    vg_name: 'data',
    lv_name: 'srv',
    lv_uuid: 'uaNLrG-EfPz-6y0P-qKZ4-hXKX-xqMl-cKzFyn',
    lv_layout: 'linear',
    lv_role: 'public',
    lv_kernel_major: '253',
    lv_kernel_minor: '0',
    lv_size: '1073741824',
    origin: '',
    pool_lv: '',
    lv_when_full: '',
    data_percent: '',
    metadata_percent: '',
    lv_snapshot_invalid: 'unknown',
    sync_percent: '',
    lv_tags: '',
    vg_free: '3217031168',
    vg_extent_size: '4194304',
    ...overrides,
  };
}

function lvs(...rows: Record<string, string>[]): string {
  return JSON.stringify({ report: [{ lv: rows }] });
}

const THIN = [
  row({
    lv_name: '[pool_tdata]',
    lv_role: 'private,thin,pool,data',
    lv_kernel_minor: '3',
  }),
  row({
    lv_name: 'pool',
    lv_layout: 'thin,pool',
    lv_role: 'private',
    lv_kernel_minor: '4',
    lv_when_full: 'queue',
    data_percent: '12.50',
    metadata_percent: '1.86',
  }),
  row({
    lv_name: 'web',
    lv_layout: 'thin,sparse',
    lv_role: 'public,origin,thinorigin',
    lv_kernel_minor: '5',
    pool_lv: 'pool',
    data_percent: '40.00',
    lv_tags: 'a,b',
  }),
];

function device(name: string, majorMinor: string, dmUuid?: string): BlockStack[number] {
  return { name, majorMinor, backingFile: undefined, dmUuid };
}

const LV_UUID = 'LVM-hCVgXW0Xb0YvJxXC';

describe('parseLvs', () => {
  it('reads a classic volume', () => {
    expect(parseLvs(lvs(row()))).toEqual([
      {
        vg: 'data',
        lv: 'srv',
        uuid: 'uaNLrG-EfPz-6y0P-qKZ4-hXKX-xqMl-cKzFyn',
        majorMinor: '253:0',
        layout: ['linear'],
        role: ['public'],
        sizeBytes: 1_073_741_824,
        origin: undefined,
        pool: undefined,
        dataPercent: undefined,
        isInvalid: false,
        syncPercent: undefined,
        tags: [],
        vgFreeBytes: 3_217_031_168,
        vgExtentBytes: 4_194_304,
      },
    ]);
  });

  it('finds the pool of a thin volume', () => {
    expect(parseLvs(lvs(...THIN)).find(({ lv }) => lv === 'web')).toMatchObject({
      layout: ['thin', 'sparse'],
      dataPercent: 40,
      tags: ['a', 'b'],
      pool: { lv: 'pool', dataPercent: 12.5, metadataPercent: 1.86, whenFull: 'queue' },
    });
  });

  it('takes the brackets off an internal name, and tells what is not active', () => {
    const inactive = row({ lv_name: '[lvol0_pmspare]', lv_kernel_major: '-1', lv_kernel_minor: '-1' });
    expect(parseLvs(lvs(inactive))).toMatchObject([{ lv: 'lvol0_pmspare', majorMinor: undefined }]);
  });

  it('tells an invalid snapshot', () => {
    const snapshot = row({ origin: 'srv', data_percent: '100.00', lv_snapshot_invalid: 'snapshot invalid' });
    expect(parseLvs(lvs(snapshot))).toMatchObject([{ origin: 'srv', isInvalid: true, dataPercent: 100 }]);
  });

  it('reads the report although lvs adds its log', () => {
    const output = JSON.stringify({ report: [{ lv: [row()] }], log: [{ log_seq_num: '1' }] });
    expect(parseLvs(output)).toHaveLength(1);
  });

  it.each(['', '{}', '{"report":[{"lv":[{"lv_name":"srv"}]}]}'])('refuses %j', (output) => {
    expect(() => parseLvs(output)).toThrow(/JSON|invalid/i);
  });
});

describe('findLogicalVolume', () => {
  it('takes the topmost that is no internal one', () => {
    const stack: BlockStack = [
      device('dm-5', '253:5', `${LV_UUID}5`),
      device('dm-4', '253:4', `${LV_UUID}4-tpool`),
      device('dm-3', '253:3', `${LV_UUID}3-tdata`),
    ];
    expect(findLogicalVolume(stack, parseLvs(lvs(...THIN)))).toMatchObject({ lv: 'web', above: [] });
    const [, ...below] = stack;
    expect(findLogicalVolume(below as [BlockStack[0]], parseLvs(lvs(...THIN)))).toBeUndefined();
  });

  it('tells what lies above it', () => {
    const stack: BlockStack = [
      device('dm-7', '253:7', 'CRYPT-LUKS2-0123'),
      device('dm-0', '253:0', LV_UUID),
      device('vda', '252:0'),
    ];
    expect(findLogicalVolume(stack, parseLvs(lvs(row())))).toMatchObject({ lv: 'srv', above: ['253:7'] });
  });

  it('does not take another device of the same number for it', () => {
    expect(
      findLogicalVolume([device('dm-0', '253:0', 'CRYPT-PLAIN-x')], parseLvs(lvs(row()))),
    ).toBeUndefined();
  });
});

describe('locateLogicalVolume', () => {
  const unasked = async (): Promise<never> => {
    throw new Error('asked');
  };

  it('asks nothing where no device is LVM’s', async () => {
    expect(liesOnLvm([device('vda', '252:0')])).toBe(false);
    expect(await locateLogicalVolume([device('vda', '252:0')], unasked)).toEqual({});
    expect(await locateLogicalVolume(undefined, unasked)).toEqual({});
  });

  it('says why the volume is not known', async () => {
    const stack: BlockStack = [device('dm-0', '253:0', LV_UUID)];
    expect(await locateLogicalVolume(stack, async () => ({ problem: 'lvm2 is not installed' }))).toEqual({
      lvmProblem: 'lvm2 is not installed',
    });
    expect(await locateLogicalVolume(stack, async () => ({ volumes: [] }))).toEqual({
      lvmProblem: 'lvs does not know its logical volume',
    });
  });

  it('uses what lvs told beside a failure', async () => {
    const stack: BlockStack = [device('dm-0', '253:0', LV_UUID)];
    const volumes = parseLvs(lvs(row()));
    expect(
      await locateLogicalVolume(stack, async () => ({ volumes, problem: 'another lacks a disk' })),
    ).toMatchObject({
      lvm: { vg: 'data', lv: 'srv' },
    });
  });
});
