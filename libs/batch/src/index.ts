export { Header, layoutSlab, openSlab, slabBytesPerRow, type BatchColumns, type Layout } from './layout'
