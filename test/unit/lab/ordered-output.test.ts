import { describe, expect, it } from 'vitest';
import { orderedOutputs } from '../../../lab/ordered-output.js';

describe('orderedOutputs', () => {
  it('passes the first on at once and holds the others until those before them have ended', () => {
    const said: string[] = [];
    const [first, second, third] = orderedOutputs(3, (chunk) => said.push(chunk.toString()));
    third?.write('c1 ');
    third?.end();
    first?.write('a1 ');
    second?.write('b1 ');
    expect(said.join('')).toBe('a1 ');
    first?.write('a2 ');
    first?.end();
    expect(said.join('')).toBe('a1 a2 b1 ');
    second?.write('b2 ');
    second?.end();
    second?.end();
    expect(said.join('')).toBe('a1 a2 b1 b2 c1 ');
  });
});
