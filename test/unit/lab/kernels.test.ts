import { describe, expect, it } from 'vitest';
import { compareVersions, expectedBehaviour, kernelsToTry, type Kernel } from '../../../lab/kernels.js';

function kernel(version: string): Kernel {
  const release = `${version}+deb13-cloud-amd64`;
  return { release, version, image: { name: `linux-image-${release}`, version: `${version}-1` } };
}

describe('compareVersions', () => {
  it('compares numbers, not text', () => {
    expect(['6.12.107', '7.0', '6.2.9', '6.12.9'].toSorted(compareVersions)).toEqual([
      '6.2.9',
      '6.12.9',
      '6.12.107',
      '7.0',
    ]);
  });
});

describe('expectedBehaviour', () => {
  // Measured, and the changelog of 6.12.111.
  it.each([
    ['6.1.192', 'refuses'],
    ['6.12.107', 'leaks'],
    ['6.12.111', 'nests'],
    ['6.12.117', 'nests'],
    ['6.16.12', 'leaks'],
    ['6.18.15', 'leaks'],
    ['7.2.12', 'nests'],
    ['7.3.4', 'nests'],
  ] as const)('of %s is that it %s', (version, behaviour) => {
    expect(expectedBehaviour(version)).toBe(behaviour);
  });

  it('says nothing of versions that nobody has looked at', () => {
    expect(expectedBehaviour('6.18.40')).toBeUndefined();
    expect(expectedBehaviour('7.0.4')).toBeUndefined();
  });
});

describe('kernelsToTry', () => {
  const kernels = ['7.3.4', '7.1.8', '7.0.4', '6.18.15', '6.12.117', '6.12.107', '6.12.105'].map(kernel);
  const tried = (behaviour: 'leaks' | 'nests'): string[] =>
    kernelsToTry(kernels, behaviour).map(({ version }) => version);

  it('takes the newest that is expected to behave so, then those of which nothing is known', () => {
    expect(tried('leaks')).toEqual(['6.18.15', '6.12.107', '6.12.105', '7.1.8', '7.0.4']);
    expect(tried('nests')).toEqual(['7.3.4', '6.12.117', '7.1.8', '7.0.4']);
  });
});
