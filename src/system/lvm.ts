/** A logical volume of LVM, as `lvs` tells of it. */
export interface LogicalVolume {
  vg: string;
  lv: string;
  /** `major:minor` of its device-mapper device. */
  majorMinor: string;
}
