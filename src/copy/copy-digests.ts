/** What the digests of a finished copy are. */
export interface CopyDigests {
  algorithm: string;
  /** Of the list itself. */
  sha256: string;
  entries: number;
  /** Files whose digest is not known, since they are shared with a backup that has none. */
  unknown: number;
}
