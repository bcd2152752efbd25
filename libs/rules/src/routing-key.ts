/**
 * What a proxy picks hosts by: the version that answers, `price@2`, as printable ASCII. The same for every request that
 * the version answers, whatever rule decided, so that one host's memory serves all of them.
 */
export function routingKey(workflow: string, version: number): string {
  return `${encodeURIComponent(workflow)}@${version}`
}
