/** The requests whose answers are frozen in each version's `golden.json`. */
export const goldenRequests: readonly {
  readonly workflow: string
  readonly versions: readonly number[]
  /** As in golden.json: a number may differ by that, times its size where that is above 1. */
  readonly tolerance: number
  readonly inputs: readonly Readonly<Record<string, unknown>>[]
}[] = [
  {
    workflow: 'title-ranking',
    versions: [1],
    tolerance: 1e-4,
    inputs: [
      { account: 'account-42', title: ['toy-story-1995', 'gigli-2003', 'jaws-1975', 'annie-hall-1977'] },
      // No profile: the network's rating alone.
      { account: 'nobody', title: ['gigli-2003', 'the-shawshank-redemption-1994', 'casino-royale-1967'] },
      // Nearly nothing is known of it.
      { account: 'account-7', title: ['the-land-girls-1998'] },
      { account: 'account-7', title: ['up-2009', 'no-such-title-1900'] },
    ],
  },
  {
    workflow: 'flight-delay',
    versions: [1, 2, 3],
    tolerance: 1e-5,
    inputs: [
      { hour: [0.5, 6.5, 13.25, 22], distance: [2227, 447, 1452, 2399] },
      { hour: [17], distance: [100] },
    ],
  },
  {
    workflow: 'sentence-embedding',
    versions: [1],
    tolerance: 1e-4,
    inputs: [{ text: ['How old are you?', 'What is your age?'] }, { text: ['café 🎉'] }, { text: ['fine', ' '] }],
  },
]
