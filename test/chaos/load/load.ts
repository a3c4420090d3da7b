import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../../support/throwaway-filesystem.js';

/** Of everything here: ms of CLOCK_MONOTONIC, which all processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A write that was held up. */
export interface Stall {
  beginMs: number;
  endMs: number;
}

/** One change of one file; version 0: it was unlinked. */
export interface FileChange extends Stall {
  version: number;
}

/** What a load did since it was told to begin afresh. */
export interface LoadLog {
  epoch: number;
  /** When the record of that number (from 1, at that index less 1) was on the disk. */
  acknowledgedMs: number[];
  /** By number of file, in order. */
  files: Map<number, FileChange[]>;
}

/** Compiles the load into `directory`; resolves to the program. */
export async function buildLoad(directory: string): Promise<string> {
  const program = path.join(directory, 'load');
  const source = path.join(import.meta.dirname, 'load.c');
  await must('cc', '-std=gnu17', '-O2', '-D_GNU_SOURCE', '-static', '-pthread', '-o', program, source);
  return program;
}

const LIMIT_MS = 240_000;
/** More often is work that an emulated guest has no time for. */
const POLL_MS = { host: 20, guest: 100 } as const;

/**
 * Where a program says many lines in a second, and is never to wait for whoever reads them when he has the time: in memory, and
 * without a name. A pipe would wake the reader for each, which took an emulated guest a tenth of a processor.
 */
class Notes {
  readonly fd: number;
  readonly #buffer = Buffer.alloc(64 * 1024);
  #position = 0;
  #partial = '';
  #isClosed = false;

  constructor(name: string) {
    const file = path.join('/dev/shm', name);
    this.fd = openSync(file, 'wx+', 0o600);
    rmSync(file);
  }

  /** The lines since the last call. */
  read(): string[] {
    let text = this.#partial;
    while (!this.#isClosed) {
      // Both use one position where none is given.
      const bytes = readSync(this.fd, this.#buffer, 0, this.#buffer.length, this.#position);
      if (bytes === 0) break;
      this.#position += bytes;
      text += this.#buffer.toString('latin1', 0, bytes);
    }
    const lines = text.split('\n');
    this.#partial = lines.pop() ?? '';
    return lines;
  }

  /** What was not read is lost. */
  close(): void {
    this.#isClosed = true;
    closeSync(this.fd);
  }
}

let count = 0;

/** `load.c` at work on one filesystem, beside whoever started it. */
export class Load {
  #log: LoadLog = { epoch: 0, acknowledgedMs: [], files: new Map() };
  #stalls: Stall[] = [];
  #beatMs = monotonicMs();
  #said = '';
  #epoch = 0;
  readonly #child: ChildProcess;
  readonly #notes: Notes;
  readonly #pollMs: number;

  /** `slower`: how many times as long it waits between what it does, on a machine that has no time for more. */
  constructor(program: string, directory: string, slower = 1) {
    count += 1;
    this.#notes = new Notes(`load-${process.pid}-${count}`);
    this.#pollMs = slower === 1 ? POLL_MS.host : POLL_MS.guest;
    this.#child = spawn(program, [directory, String(slower)], { stdio: ['pipe', this.#notes.fd, 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#said += chunk;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it did, up to now. */
  get log(): LoadLog {
    this.#read();
    return this.#log;
  }

  #read(): void {
    for (const line of this.#notes.read()) this.#take(line);
  }

  #take(line: string): void {
    const [word, ...rest] = line.split(' ');
    const [a = 0, b = 0, c = 0, d = 0, e = 0] = rest.map(Number);
    if (word === 'beat') this.#beatMs = a / 1e6;
    else if (word === 'stall') this.#stalls.push({ beginMs: a / 1e6, endMs: b / 1e6 });
    else if (word === 'began') this.#log = { epoch: a, acknowledgedMs: [], files: new Map() };
    else if (word === 'ack' && a === this.#log.epoch) this.#log.acknowledgedMs.push(c / 1e6);
    else if (word === 'file' && a === this.#log.epoch) {
      const changes = this.#log.files.get(b) ?? [];
      changes.push({ version: c, beginMs: d / 1e6, endMs: e / 1e6 });
      this.#log.files.set(b, changes);
    }
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    for (const giveUpAt = monotonicMs() + LIMIT_MS; ; await sleep(this.#pollMs)) {
      this.#read();
      if (holds()) return;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`the load ended before ${what}: ${this.#said}`);
      if (monotonicMs() > giveUpAt) throw new Error(`the load waits ${LIMIT_MS} ms for ${what}`);
    }
  }

  /** Starts afresh, in a directory of its own below the load's, and waits until that holds something. */
  async begin(): Promise<void> {
    const since = monotonicMs();
    this.#read();
    this.#epoch += 1;
    this.#stalls = [];
    this.#child.stdin?.write(`begin ${this.#epoch}\n`);
    await this.#until(
      'records',
      () =>
        this.#log.epoch === this.#epoch &&
        this.#log.acknowledgedMs.length > 4 &&
        this.#log.files.size > 8 &&
        this.#beatMs > since,
    );
  }

  /** Nothing is asked of it until it begins again. */
  rest(): void {
    this.#child.stdin?.write('rest\n');
  }

  /** The longest time that a writer was held up since `sinceMs`, also one that still is. */
  longestStallMs(sinceMs: number): number {
    this.#read();
    const waits = this.#stalls.map(({ beginMs, endMs }) => endMs - Math.max(beginMs, sinceMs));
    return Math.max(0, ...waits, Math.min(this.#waitingMs(), monotonicMs() - sinceMs));
  }

  /** For how long no write has come through. Some beats' worth also where nothing holds it up. */
  #waitingMs(): number {
    return Math.max(0, monotonicMs() - this.#beatMs - 100);
  }

  /** Waits until a write has come through that was begun after this call. Rejects after `limitMs`. */
  async writes(limitMs: number): Promise<void> {
    const since = monotonicMs();
    for (; ; await sleep(this.#pollMs)) {
      this.#read();
      if (this.#beatMs > since) return;
      if (this.#child.exitCode !== null) throw new Error(`the load ended: ${this.#said}`);
      if (monotonicMs() - since > limitMs) throw new Error(`nothing was written for ${limitMs} ms`);
    }
  }

  /** Ends it. The filesystem must not be frozen. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.stdin?.end();
    const isLate = await Promise.race([ended.then(() => false), sleep(5000, true, { ref: false })]);
    if (isLate) this.#child.kill('SIGKILL');
    await ended;
    this.#read();
    this.#notes.close();
  }
}
