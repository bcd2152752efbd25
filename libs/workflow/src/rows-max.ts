/** The most rows that a batch may have. */
export const rowsMax = 65_536
