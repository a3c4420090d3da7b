import { createHash } from 'node:crypto';

/** One record of a log that `record-writer.ts` appends to. */
export interface LogRecord {
  /** From 1, without a gap. */
  sequence: number;
  /** Epoch milliseconds just before it was written. */
  begunMs: number;
}

/** When the writer had a record on the disk: after the fsync that followed it. */
export interface Acknowledgement {
  sequence: number;
  /** Epoch milliseconds. */
  acknowledgedMs: number;
}

/** Long enough that a log of some thousand records spans many blocks, which a torn copy would mix up. */
const PAYLOAD_BYTES = 900;

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The line of a record: number, time and payload, then the SHA-256 of all that. */
export function formatRecord(record: LogRecord): string {
  const head = `${record.sequence} ${record.begunMs}`;
  const payload = checksum(head)
    .repeat(Math.ceil(PAYLOAD_BYTES / 64))
    .slice(0, PAYLOAD_BYTES);
  const body = `${head} ${payload}`;
  return `${body} ${checksum(body)}\n`;
}

/** The line that the writer says on stdout for an acknowledged record. */
export function formatAcknowledgement(acknowledgement: Acknowledgement): string {
  return `ack ${acknowledgement.sequence} ${acknowledgement.acknowledgedMs}\n`;
}

/** Undefined for a line that is no acknowledgement. */
export function parseAcknowledgement(line: string): Acknowledgement | undefined {
  const match = /^ack (\d+) (\d+)$/.exec(line);
  return match === null ? undefined : { sequence: Number(match[1]), acknowledgedMs: Number(match[2]) };
}

/** Reads a log back. `damage` says, a line each, what is torn, changed, missing between two others, or out of order. */
export function parseRecords(text: string): { records: LogRecord[]; damage: string[] } {
  const records: LogRecord[] = [];
  const damage: string[] = [];
  const lines = text.split('\n');
  const tail = lines.pop();
  if (tail !== undefined && tail !== '')
    damage.push(`the last record is torn after ${tail.length} characters`);
  for (const line of lines) {
    const end = line.lastIndexOf(' ');
    const body = line.slice(0, Math.max(end, 0));
    const expected = records.length + 1;
    if (line.slice(end + 1) !== checksum(body)) {
      damage.push(`record ${expected} is damaged`);
      continue;
    }
    const [sequence, begunMs] = body.split(' ', 2).map(Number);
    if (sequence === undefined || begunMs === undefined) continue;
    if (sequence !== expected) damage.push(`record ${sequence} stands where ${expected} should`);
    records.push({ sequence, begunMs });
  }
  return { records, damage };
}

/** The instants between which a filesystem was frozen, epoch milliseconds. */
export interface FrozenWindow {
  startMs: number;
  endMs: number;
}

/** Of clocks that several processes read, rounded to a millisecond each. */
const CLOCK_SLACK_MS = 20;

/**
 * What is wrong with a log that was copied from a snapshot taken within `window`, a line each: every record that was
 * acknowledged before the window must be there and whole, and none begun after it.
 */
export function checkRecords(
  text: string,
  acknowledgements: readonly Acknowledgement[],
  window: FrozenWindow,
): string[] {
  const { records, damage } = parseRecords(text);
  const last = records.at(-1)?.sequence ?? 0;
  const missing = acknowledgements.filter(
    ({ sequence, acknowledgedMs }) => acknowledgedMs < window.startMs - CLOCK_SLACK_MS && sequence > last,
  );
  const late = records.filter(({ begunMs }) => begunMs > window.endMs + CLOCK_SLACK_MS);
  return [
    ...damage,
    ...missing.map(({ sequence }) => `record ${sequence} was acknowledged before the freeze and is missing`),
    ...late.map(({ sequence }) => `record ${sequence} was begun after the thaw and is there`),
  ];
}
