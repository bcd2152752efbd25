/**
 * What a request is sent for, its attribute `traffic`: a person waits (`real`, unless it says otherwise), somebody tries
 * something (`test`), a machine makes load (`synthetic`), or it is a copy whose answer nobody gets (`shadow`). Metrics,
 * logs and workflows tell them apart, so that no model learns from answers that nobody asked for.
 */
export const Traffic = { real: 0, test: 1, synthetic: 2, shadow: 3 } as const
export type TrafficClass = keyof typeof Traffic

export const trafficClasses: readonly TrafficClass[] = Object.keys(Traffic) as TrafficClass[]

/** Why a text is no traffic class. */
export function trafficFault(said: string): string {
  return `'${said}' is none of ${trafficClasses.join(', ')}`
}
