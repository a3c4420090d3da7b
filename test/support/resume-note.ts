/** What a broken-off copy of that backup notes beside its list of digests. */
export function resumeNoteOf(backupId: string) {
  return {
    version: 1,
    backupId,
    startedAt: '2026-01-01T00:00:00.000Z',
    place: 'here',
    algorithm: 'xxh128',
    instance: '',
    isSynced: true,
    rounds: 0,
  } as const;
}
