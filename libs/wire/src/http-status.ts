import { codeNames } from '@millrace/base'

/** The HTTP status line of each code, by its number: the mapping of google.rpc.Code. */
export const httpStatus: readonly string[] = [
  '200 OK', // OK
  '499 Client Closed Request', // CANCELLED
  '500 Internal Server Error', // UNKNOWN
  '400 Bad Request', // INVALID_ARGUMENT
  '504 Gateway Timeout', // DEADLINE_EXCEEDED
  '404 Not Found', // NOT_FOUND
  '409 Conflict', // ALREADY_EXISTS
  '403 Forbidden', // PERMISSION_DENIED
  '429 Too Many Requests', // RESOURCE_EXHAUSTED
  '400 Bad Request', // FAILED_PRECONDITION
  '409 Conflict', // ABORTED
  '400 Bad Request', // OUT_OF_RANGE
  '501 Not Implemented', // UNIMPLEMENTED
  '500 Internal Server Error', // INTERNAL
  '503 Service Unavailable', // UNAVAILABLE
  '500 Internal Server Error', // DATA_LOSS
  '401 Unauthorized', // UNAUTHENTICATED
]

/** For each code its number, name and HTTP status: the table that `docs` and tests read. */
export function codeTable(): readonly { code: number; name: string; http: number }[] {
  return codeNames.map((name, code) => ({ code, name, http: Number.parseInt(httpStatus[code]!, 10) }))
}
