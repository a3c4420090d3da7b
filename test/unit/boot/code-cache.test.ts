import { expect, it } from 'vitest';
import { openCodeCache, sealedCodeCache, type Engine } from '../../../src/boot/code-cache.js';

const FILE = '/opt/fsbackup/dist/code-0123456789abcdef.js';
const ENGINE: Engine = {
  versions: { ...process.versions, node: '20.19.5', v8: '11.3.244.8-node.30' },
  arch: 'x64',
  config: process.config,
  execArgv: [],
  env: {},
};
const DATA = Buffer.from('what V8 made of it');

it('is the same for the Node that made it, wherever the code lies by now', () => {
  const sealed = sealedCodeCache(FILE, DATA, ENGINE);
  expect(openCodeCache(FILE, sealed, { ...ENGINE, env: { PATH: '/bin' } })).toEqual(DATA);
  expect(openCodeCache(FILE.replace('opt', 'srv'), sealed, ENGINE)).toEqual(DATA);
});

it.each<[string, Partial<Engine>]>([
  // V8 takes it: to it both are 11.3.244.8.
  ['Node of the same line', { versions: { ...ENGINE.versions, node: '20.20.2', v8: '11.3.244.8-node.38' } }],
  ['architecture', { arch: 'arm64' }],
  [
    'build of the same version',
    { config: { ...ENGINE.config, variables: { ...ENGINE.config.variables, node_prefix: '/opt/another' } } },
  ],
  ['flag', { execArgv: ['--lite-mode'] }],
  ['flag of the environment', { env: { NODE_OPTIONS: '--lite-mode' } }],
])('is not for another %s', (_, other) => {
  expect(openCodeCache(FILE, sealedCodeCache(FILE, DATA, ENGINE), { ...ENGINE, ...other })).toBeUndefined();
});

it('is not for other code', () => {
  const other = FILE.replace('0123', '3210');
  expect(openCodeCache(other, sealedCodeCache(FILE, DATA, ENGINE), ENGINE)).toBeUndefined();
});

it('is not used with any bit of it flipped, cut short, or longer', () => {
  const sealed = sealedCodeCache(FILE, DATA, ENGINE);
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const flipped = Buffer.from(sealed);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    expect(openCodeCache(FILE, flipped, ENGINE)).toBeUndefined();
  }
  for (let length = 0; length < sealed.length; length += 1)
    expect(openCodeCache(FILE, sealed.subarray(0, length), ENGINE)).toBeUndefined();
  expect(openCodeCache(FILE, Buffer.concat([sealed, Buffer.alloc(1)]), ENGINE)).toBeUndefined();
});
