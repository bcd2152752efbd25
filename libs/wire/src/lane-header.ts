/**
 * Beside a server's answer to an upgrade: which lane it is, as `server/lane/lanes`, such as `5f1c09ab/2/4`. All lanes of a
 * server share its port; who opens several connections spreads them over the lanes by it.
 */
export const laneHeader = 'x-millrace-lane'
