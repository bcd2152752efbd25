import type { Mutant } from '../mutants'

/** Bugs of the control plane. */
export const controlMutants: readonly Mutant[] = [
  {
    what: 'rules are in force on a lane that is not ready for them',
    file: 'apps/server/dist/publisher.js',
    find: 'const waited = await lanes.ready(namedBy(rules));',
    replace: 'const waited = false;',
    and: [{ file: 'apps/server/dist/lane.js', find: 'if (failed.size > 0)', replace: 'if (false)' }],
  },
  {
    what: 'what one lane refuses is put in force',
    file: 'apps/server/dist/publisher.js',
    find: "if (origin !== 'stop')",
    replace: 'if (false)',
    and: [
      {
        file: 'apps/server/dist/publisher.js',
        find: 'const waited = await lanes.ready(namedBy(rules));',
        replace: 'const waited = false;',
      },
    ],
  },
  {
    what: 'a lane that lags is forgotten',
    file: 'apps/server/dist/supervisor.js',
    find: 'if (version === undefined || version === current)',
    replace: 'if (true)',
  },
  {
    what: 'rules that were published are not those that lanes start with',
    file: 'apps/server/dist/publisher.js',
    find: 'this.now = entry;',
    replace: 'if (entry.version % 2 === 1) this.now = entry;',
  },
  {
    what: 'a folder is loaded that somebody still writes',
    file: 'apps/server/dist/catalogue.js',
    find: 'const settled = atOnce || now - ms >= settleMs;',
    replace: 'const settled = true;',
  },
  {
    what: 'a version whose folder is gone goes though rules name it',
    file: 'apps/server/dist/lifecycle.js',
    find: "entry.folderIs === 'gone' && !named.has(entry.label)",
    replace: "entry.folderIs === 'gone'",
  },
  {
    what: 'what is loaded in the place of another does not take over',
    file: 'apps/server/dist/lane.js',
    find: 'if (!version.ready || ![',
    replace: 'if (true || ![',
  },
  {
    what: 'a thread that starts has not what goes and is still needed',
    file: 'apps/server/dist/loader.js',
    find: '!version.leaving || this.events.needed(version)',
    replace: '!version.leaving',
  },
  {
    what: 'a version that ends lanes is tried for ever',
    file: 'apps/server/dist/lifecycle.js',
    find: '++entry.deaths < deathsMax',
    replace: 'true',
  },
  {
    what: 'a lane that serves is not told what it is to have',
    file: 'apps/server/dist/supervisor.js',
    find: 'this.keepUp(slot, version);\n                    this.want(slot);',
    replace: 'this.keepUp(slot, version);',
  },
  {
    what: 'a version that failed on one lane ends the others for ever',
    file: 'apps/server/dist/lifecycle.js',
    find: 'entry.served || ++entry.deaths',
    replace: 'entry.tried || ++entry.deaths',
  },
]
