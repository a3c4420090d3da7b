import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Script } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeCacheOf, loadCode, makeCodeCache } from '../../../src/boot/code-file.js';

/** A file of code with one part, of 5 characters, which tells where it lies. */
function codeWith(part: string): string {
  return `(function (exports, require, module, __filename, __dirname) {
exports.parts = { part: () => ({ default: ['${part}', __filename, __dirname, typeof require('node:fs').readSync] }) };
})`;
}

describe('a file of code', () => {
  let directory: string;
  let file: string;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'code-file-'));
    file = path.join(directory, 'code.js');
    writeFileSync(file, codeWith('first'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  function part(): unknown {
    return loadCode(file).parts['part']?.().default;
  }

  it('is run as a module of CommonJS, without a code cache', () => {
    expect(part()).toEqual(['first', file, directory, 'function']);
  });

  it('is read as latin1', () => {
    writeFileSync(file, Buffer.from(codeWith('\xe9'), 'latin1'));
    expect(part()).toEqual(['\xe9', file, directory, 'function']);
  });

  it('is run by its code cache, which is all that is made', () => {
    makeCodeCache(file);
    expect(readdirSync(directory)).toEqual(['code.js', 'code.js.cache']);
    expect(part()).toEqual(['first', file, directory, 'function']);
    // To V8 what is as long is the same: a digest belongs into the name of such a file.
    writeFileSync(file, codeWith('other'));
    expect(part()).toEqual(['first', file, directory, 'function']);
  });

  it('has the code cache of now when one is made again', () => {
    makeCodeCache(file);
    writeFileSync(file, codeWith('other'));
    makeCodeCache(file);
    expect(part()).toEqual(['other', file, directory, 'function']);
  });

  it.each([
    [
      'of other code',
      (cache: string) => {
        const other = path.join(directory, 'other.js');
        writeFileSync(other, codeWith('the other'));
        makeCodeCache(other);
        copyFileSync(codeCacheOf(other), cache);
      },
    ],
    [
      'of other code that is as long',
      (cache: string) => {
        const other = path.join(directory, 'other.js');
        writeFileSync(other, codeWith('other'));
        makeCodeCache(other);
        copyFileSync(codeCacheOf(other), cache);
      },
    ],
    [
      'of other code that is as long, made by a version that sealed none',
      (cache: string) => {
        writeFileSync(cache, new Script(codeWith('other'), { filename: file }).createCachedData());
      },
    ],
    [
      'that a power cut left half of zeros',
      (cache: string) => {
        makeCodeCache(file);
        const made = readFileSync(cache);
        writeFileSync(cache, made.fill(0, made.length / 2));
      },
    ],
    [
      'that is cut short',
      (cache: string) => {
        makeCodeCache(file);
        truncateSync(cache, readFileSync(cache).length / 2);
      },
    ],
    [
      'that is empty',
      (cache: string) => {
        writeFileSync(cache, '');
      },
    ],
    [
      'that is no code cache',
      (cache: string) => {
        writeFileSync(cache, 'hello '.repeat(1000));
      },
    ],
  ])('is compiled where there is a code cache %s', (_, make) => {
    make(codeCacheOf(file));
    expect(part()).toEqual(['first', file, directory, 'function']);
  });

  it('keeps its code cache while none can be made of it', () => {
    makeCodeCache(file);
    const made = readFileSync(codeCacheOf(file));
    writeFileSync(file, "(function () { throw new Error('broken'); })");
    expect(() => {
      makeCodeCache(file);
    }).toThrow('broken');
    expect(readFileSync(codeCacheOf(file))).toEqual(made);
  });

  it('leaves nothing of a code cache that cannot be put there', () => {
    mkdirSync(codeCacheOf(file));
    expect(() => {
      makeCodeCache(file);
    }).toThrow(/EISDIR|ENOTEMPTY/);
    expect(readdirSync(directory)).toEqual(['code.js', 'code.js.cache']);
  });
});
