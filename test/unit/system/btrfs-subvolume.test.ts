import { expect, it } from 'vitest';
import { parseSubvolume } from '../../../src/system/btrfs-subvolume.js';

/** Of btrfs-progs 6.2, shortened. */
const SHOWN = `t/j/d/s2
	Name: 			s2
	UUID: 			b503631f-6685-a448-8d45-2d3901e340c6
	Parent UUID: 		661aff09-960e-7e4f-894c-dc015aaae0e2
	Received UUID: 		476d2ac3-d5bf-5f48-b214-1b86ba0dc899
	Subvolume ID: 		257
	Generation: 		10
	Gen at creation: 	9
	Flags: 			readonly
	Snapshot(s):
`;

it('reads what tells a subvolume from every other one', () => {
  expect(parseSubvolume(SHOWN)).toEqual({
    uuid: 'b503631f-6685-a448-8d45-2d3901e340c6',
    parentUuid: '661aff09-960e-7e4f-894c-dc015aaae0e2',
    receivedUuid: '476d2ac3-d5bf-5f48-b214-1b86ba0dc899',
    generation: '10',
    isReadOnly: true,
  });
  const fresh = SHOWN.replace(/(Received UUID:\s+)\S+/, '$1-').replace(/(Flags:\s+)\S+/, '$1-');
  expect(parseSubvolume(fresh)).toMatchObject({ receivedUuid: undefined, isReadOnly: false });
  expect(parseSubvolume('ERROR: not a subvolume')).toBeUndefined();
});
