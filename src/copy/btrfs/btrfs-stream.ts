/** Which subvolume a stream is of, and from which one it is an increment, as the kernel that made it says. */
export interface BtrfsStreamHead {
  uuid: string;
  parentUuid: string | undefined;
}

// fs/btrfs/send.h of Linux; the same in versions 1 to 3 of the stream.
const MAGIC = Buffer.from('btrfs-stream\0', 'latin1');
const FIRST_COMMAND = MAGIC.length + 4;
const COMMAND = { subvolume: 1, snapshot: 2 } as const;
const ATTRIBUTE = { uuid: 1, parentUuid: 20 } as const;
const UUID_BYTES = 16;

function uuidOf(bytes: Buffer | undefined): string | undefined {
  if (bytes?.length !== UUID_BYTES) return undefined;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * What a stream of `btrfs send` begins with, from its first bytes: 1024 hold the longest name too. Undefined for anything
 * else. Pure.
 */
export function parseBtrfsStreamHead(head: Buffer): BtrfsStreamHead | undefined {
  if (head.length < FIRST_COMMAND + 10 || !head.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const length = head.readUInt32LE(FIRST_COMMAND);
  const command = head.readUInt16LE(FIRST_COMMAND + 4);
  if (command !== COMMAND.subvolume && command !== COMMAND.snapshot) return undefined;
  // After the command's checksum: each attribute with its type and its length before it.
  const attributes = head.subarray(FIRST_COMMAND + 10, FIRST_COMMAND + 10 + length);
  if (attributes.length < length) return undefined;
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= attributes.length;) {
    const end = at + 4 + attributes.readUInt16LE(at + 2);
    found.set(attributes.readUInt16LE(at), attributes.subarray(at + 4, end));
    at = end;
  }
  const uuid = uuidOf(found.get(ATTRIBUTE.uuid));
  if (uuid === undefined) return undefined;
  return {
    uuid,
    parentUuid: command === COMMAND.snapshot ? uuidOf(found.get(ATTRIBUTE.parentUuid)) : undefined,
  };
}
