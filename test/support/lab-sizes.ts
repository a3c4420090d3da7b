/** For the contract of engines that send snapshots, in a guest: enough of everything, and no more. */
export const LAB_SIZES = { smallFiles: 60, sparseMiB: 16, largeMiB: 12, tooLargeMiB: 32 } as const;
