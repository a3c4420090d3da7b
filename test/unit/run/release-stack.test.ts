import { describe, expect, it } from 'vitest';
import { ReleaseStack, releaseInReverse } from '../../../src/run/release-stack.js';

function recorder() {
  const released: string[] = [];
  const stack = new ReleaseStack();
  const push = (what: string) =>
    stack.push(what, async () => {
      released.push(what);
    });
  return { released, stack, push };
}

describe('the release stack', () => {
  it('releases the last acquired first, each once', async () => {
    const { released, stack, push } = recorder();
    push('a');
    push('b');
    expect(await stack.releaseAll()).toEqual([]);
    expect(released).toEqual(['b', 'a']);
    expect(stack.isEmpty).toBe(true);
    expect(await stack.releaseAll()).toEqual([]);
    expect(released).toHaveLength(2);
  });

  it('goes on past a failure, tells of it, and tries that again', async () => {
    const { released, stack, push } = recorder();
    let busy = true;
    push('a');
    stack.push('b', async () => {
      if (busy) throw new Error('busy');
      released.push('b');
    });
    push('c');
    expect(await stack.releaseAll()).toMatchObject([{ what: 'b', error: { message: 'busy' } }]);
    expect(released).toEqual(['c', 'a']);
    busy = false;
    expect(await stack.releaseAll()).toEqual([]);
    expect(released).toEqual(['c', 'a', 'b']);
  });

  it('does not release what another that is still held lies on', async () => {
    const { released, stack, push } = recorder();
    const lower = push('snapshot');
    let busy = true;
    stack.push(
      'mount',
      async () => {
        if (busy) throw new Error('busy');
      },
      lower,
    );
    expect(await stack.releaseAll()).toMatchObject([
      { what: 'mount' },
      { what: 'snapshot', error: { message: 'mount still needs it' } },
    ]);
    expect(released).toEqual([]);
    busy = false;
    expect(await stack.releaseAll()).toEqual([]);
    expect(released).toEqual(['snapshot']);
  });

  it('releases some early, and keeps what is to stay', async () => {
    const { released, stack, push } = recorder();
    const [a, b, c] = ['a', 'b', 'c'].map(push);
    if (a === undefined || b === undefined || c === undefined) throw new Error('three were pushed');
    await releaseInReverse([a, b]);
    c.keep();
    await stack.releaseAll();
    expect(released).toEqual(['b', 'a']);
  });
});
