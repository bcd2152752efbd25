/**
 * The one error vocabulary: gRPC's status codes, by their numbers and names. `libs/wire` maps them to HTTP.
 */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const

export type CodeName = keyof typeof Code
export type Code = (typeof Code)[CodeName]

export const codeNames: readonly CodeName[] = Object.keys(Code) as CodeName[]

export function codeOf(name: string): Code | undefined {
  return Object.hasOwn(Code, name) ? Code[name as CodeName] : undefined
}
