/** A dataset of ZFS. */
export interface ZfsVolume {
  /** `tank/srv` */
  dataset: string;
  /** The dataset itself is mounted, or another filesystem lies on its block device. */
  kind: 'filesystem' | 'volume';
}
