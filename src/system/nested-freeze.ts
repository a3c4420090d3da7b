/**
 * What a kernel does when a block device freezes itself (device-mapper's suspend with lockfs) while its filesystem is
 * frozen by FIFREEZE: `refuses` with EBUSY (before 6.8), `leaks` (from 6.8 to the fix fe967191e585: the freeze works
 * and the device can never be mounted again), or `nests`. `unknown`: not tested.
 */
export type NestedFreeze = 'refuses' | 'leaks' | 'nests' | 'unknown';
