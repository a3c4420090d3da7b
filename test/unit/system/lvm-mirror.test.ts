import { describe, expect, it } from 'vitest';
import { parseMirror } from '../../../src/system/lvm-mirror.js';

/** A row as lvs 2.03.16 prints it. */
function row(values: Record<string, string>): Record<string, string> {
  return {
    lv_layout: 'linear',
    lv_role: 'private,raid,image',
    sync_percent: '',
    raid_sync_action: '',
    lv_health_status: '',
    ...values,
  };
}

const WHOLE = {
  lv_name: 'm',
  lv_layout: 'raid,raid1',
  lv_role: 'public',
  devices: 'm_rimage_0(0),m_rimage_1(0)',
  sync_percent: '100.00',
  raid_sync_action: 'idle',
};

function output(...rows: Record<string, string>[]): string {
  return JSON.stringify({ report: [{ lv: rows.map(row) }] });
}

describe('parseMirror', () => {
  it('finds the images and their disks, each segment in a row of its own', () => {
    const printed = output(
      WHOLE,
      { lv_name: '[m_rimage_0]', devices: '/dev/vdc(1)' },
      { lv_name: '[m_rimage_1]', devices: '/dev/vdd(1)' },
      { lv_name: '[m_rimage_1]', devices: '/dev/vde(0)' },
      { lv_name: '[m_rmeta_0]', lv_role: 'private,raid,metadata', devices: '/dev/vdc(0)' },
    );
    expect(parseMirror(printed, 'vg', 'm')).toEqual({
      vg: 'vg',
      lv: 'm',
      isRaid1: true,
      syncPercent: 100,
      syncAction: 'idle',
      health: '',
      images: [
        { lv: 'm_rimage_0', physicalVolumes: ['/dev/vdc'], isSplit: false },
        { lv: 'm_rimage_1', physicalVolumes: ['/dev/vdd', '/dev/vde'], isSplit: false },
      ],
    });
  });

  it('knows a split image by its name without brackets', () => {
    const printed = output(
      WHOLE,
      { lv_name: '[m_rimage_0]', devices: '/dev/vdc(1)' },
      { lv_name: 'm_rimage_1', devices: '/dev/vdd(1)' },
    );
    expect(parseMirror(printed, 'vg', 'm')?.images.map(({ isSplit }) => isSplit)).toEqual([false, true]);
  });

  it('takes no image of a volume whose name begins alike', () => {
    const printed = output(
      WHOLE,
      { lv_name: '[m_rimage_0]', devices: '/dev/vdc(1)' },
      { lv_name: '[m_rimage_0_rimage_0]', devices: '/dev/vdc(9)' },
      { lv_name: '[mm_rimage_0]', devices: '/dev/vdd(9)' },
    );
    expect(parseMirror(printed, 'vg', 'm')?.images.map(({ lv }) => lv)).toEqual(['m_rimage_0']);
  });

  it('tells an inactive mirror, a linear volume, and one that is not there', () => {
    expect(parseMirror(output({ ...WHOLE, sync_percent: '' }), 'vg', 'm')?.syncPercent).toBeUndefined();
    expect(parseMirror(output({ ...WHOLE, lv_layout: 'linear' }), 'vg', 'm')?.isRaid1).toBe(false);
    expect(parseMirror(output(WHOLE), 'vg', 'other')).toBeUndefined();
  });
});
