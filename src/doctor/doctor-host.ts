import { planHost } from '../run/host.js';
import { findOutdated } from '../schedule/outdated.js';
import { installFacts, otherConfiguration, scheduleHost } from '../schedule/schedule-host.js';
import { findStrays } from '../schedule/strays.js';
import { providerByName } from '../snapshots/registry.js';
import type { DoctorHost } from './examine.js';
import { gatherHost } from './gather-host.js';

/** This host, as `doctor` sees it. */
export function doctorHost(): DoctorHost {
  const plan = planHost();
  return {
    gatherHost,
    findStrays: (jobs, config) => findStrays(jobs, otherConfiguration(config), scheduleHost().units),
    findOutdated: async () => findOutdated(await installFacts(undefined), scheduleHost().units),
    plan,
    refuseFrozenSources: plan.refuseFrozenSources,
    providerOf: ({ provider, commands }) => {
      if (provider === 'none') throw new Error('a copy of the live tree has no provider');
      return providerByName(provider, commands);
    },
  };
}
