export { FittingRows } from './fitting-rows'
export { Header, layoutSlab, openSlab, slabBytesPerRow, type BatchColumns, type Layout } from './layout'
export { partOf, type BatchPart } from './part'
export { admit, Batch, BatchQueue, longestWaiting, type QueueOptions } from './queue'
