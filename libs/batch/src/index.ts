export { Header, layoutSlab, openSlab, slabBytesPerRow, type BatchColumns, type Layout } from './layout'
export { admit, Batch, BatchQueue, longestWaiting, type QueueOptions } from './queue'
