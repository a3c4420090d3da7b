import { createCipheriv, createHash, randomBytes, scryptSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Repositories of restic whose password takes no time: `restic init` measures for three seconds of a processor how strong a key
 * derivation may be, and each command on what it made then derives for half a second. Everything else is as restic makes it
 * (its design document: Repository Format).
 */

/** The least that scrypt takes. */
const KDF = { N: 2, r: 1, p: 1 } as const;
const MASTER_KEY_BYTES = 64;
/** Irreducible, of degree 53: any such will do. */
const CHUNKER_POLYNOMIAL = '3da3358b4dc173';

const POLY1305_PRIME = (1n << 130n) - 5n;
const POLY1305_MASK = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

function littleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex')}`);
}

/** Poly1305 of a message with the two halves of its one-time key. */
function poly1305(message: Buffer, r: Buffer, s: Buffer): Buffer {
  const factor = littleEndian(r) & POLY1305_MASK;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = Buffer.concat([message.subarray(at, at + 16), Buffer.of(1)]);
    sum = ((sum + littleEndian(block)) * factor) % POLY1305_PRIME;
  }
  const tag = (sum + littleEndian(s)) & ((1n << 128n) - 1n);
  return Buffer.from(Buffer.from(tag.toString(16).padStart(32, '0'), 'hex').toReversed());
}

interface Key {
  encrypt: Buffer;
  mac: { k: Buffer; r: Buffer };
}

function keyOf(bytes: Buffer): Key {
  return { encrypt: bytes.subarray(0, 32), mac: { k: bytes.subarray(32, 48), r: bytes.subarray(48, 64) } };
}

/** AES-256-CTR, then Poly1305-AES of that. */
function seal({ encrypt, mac }: Key, value: unknown): Buffer {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-ctr', encrypt, iv);
  const text = Buffer.concat([cipher.update(JSON.stringify(value)), cipher.final()]);
  const once = createCipheriv('aes-128-ecb', mac.k, null).setAutoPadding(false).update(iv);
  return Buffer.concat([iv, text, poly1305(text, mac.r, once)]);
}

/** Makes a new repository in `directory`, which may not be there yet. */
export function makeQuickResticRepository(directory: string, password: string): void {
  for (const name of ['data', 'index', 'keys', 'locks', 'snapshots'])
    mkdirSync(path.join(directory, name), { recursive: true, mode: 0o700 });
  for (let prefix = 0; prefix < 256; prefix += 1)
    mkdirSync(path.join(directory, 'data', prefix.toString(16).padStart(2, '0')), { mode: 0o700 });
  const master = keyOf(randomBytes(MASTER_KEY_BYTES));
  const salt = randomBytes(64);
  const user = keyOf(scryptSync(password, salt, MASTER_KEY_BYTES, KDF));
  const base64 = (bytes: Buffer): string => bytes.toString('base64');
  const masterText = {
    mac: { k: base64(master.mac.k), r: base64(master.mac.r) },
    encrypt: base64(master.encrypt),
  };
  const keyFile = JSON.stringify({
    created: new Date().toISOString(),
    username: 'root',
    hostname: 'test',
    kdf: 'scrypt',
    ...KDF,
    salt: base64(salt),
    data: base64(seal(user, masterText)),
  });
  const keyName = createHash('sha256').update(keyFile).digest('hex');
  writeFileSync(path.join(directory, 'keys', keyName), keyFile, { mode: 0o400 });
  const config = {
    version: 2,
    id: randomBytes(32).toString('hex'),
    chunker_polynomial: CHUNKER_POLYNOMIAL,
  };
  writeFileSync(path.join(directory, 'config'), seal(master, config), { mode: 0o400 });
}
